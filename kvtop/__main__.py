"""`python -m kvtop`."""

import sys

from kvtop.cli import main

sys.exit(main())
