"""`python -m taskmaster_desktop` is the command `taskmaster`."""

import sys

from taskmaster_desktop.cli import main

if __name__ == "__main__":
    sys.exit(main())
