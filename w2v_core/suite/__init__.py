"""THE SUITE. In a checkout: ``pytest tests/validation``; elsewhere: ``--pyargs w2v_core.suite``."""
