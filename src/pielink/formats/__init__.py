"""Bytes <-> tables of the file formats; no linker logic."""
