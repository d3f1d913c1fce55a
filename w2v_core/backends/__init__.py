"""One file a device; see base.py for what a device must offer."""
