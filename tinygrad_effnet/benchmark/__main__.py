"""``python -m tinygrad_effnet.benchmark``."""

import sys

from .command import main

if __name__ == "__main__":
    sys.exit(main())
