"""Reads finished Mach-O files and compares them: what `pielink diff` and `pielink check` stand on.

Nothing here is shared with the linker or with `pielink.dyld`, except the constants and struct
layouts of `pielink.formats.macho`: an error of the writer must not hide behind the same error in
the reader.
"""

from pielink.inspect.compare import compare
from pielink.inspect.difference import Difference
from pielink.inspect.macho import MachOFile, read_macho

__all__ = ["Difference", "MachOFile", "compare", "read_macho"]
