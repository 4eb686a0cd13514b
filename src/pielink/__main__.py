"""`python -m pielink` is the command `pielink`."""

from pielink.cli import entry

entry()
