"""`python -m pielink`."""

import sys

from pielink.cli import main

sys.exit(main())
