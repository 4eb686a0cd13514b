"""What only Go programs need: runtime tables, one file per table."""
