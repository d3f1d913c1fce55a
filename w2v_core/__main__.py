"""``python -m w2v_core``: the ``w2v`` command."""

import sys

from w2v_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
