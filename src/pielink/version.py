"""The version of pielink."""

__version__ = "0.1.0"
