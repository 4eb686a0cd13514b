"""The differences from Go's linker that pielink makes on purpose: a table, nothing else.

docs/differences.md has a section for each `id` that says what differs, why, and which test shows
it. A row matches a difference when all three patterns match whole: `part` (header, command,
section, symbol, rebase, bind, export), `place` (what is compared, such as `LC_SYMTAB`) and `what`
(the field; `present` when one side lacks the thing, `added` when the first lacks an
export).
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deliberate:
    """One deliberate difference: its id and the patterns of what it covers."""

    id: str
    part: str
    place: str
    what: str

    def covers(self, part: str, place: str, what: str) -> bool:
        """Is a difference at this place and field this deliberate one?"""
        return all(
            re.fullmatch(pattern, value)
            for pattern, value in ((self.part, part), (self.place, place), (self.what, what))
        )


DELIBERATE = (
    Deliberate("linkedit-layout", "command", "LC_DYLD_INFO(_ONLY)?", ".*_(off|size)"),
    Deliberate("linkedit-layout", "command", "LC_SYMTAB", "symoff|stroff|strsize"),
    Deliberate("linkedit-layout", "command", "LC_DYSYMTAB", "indirectsymoff"),
    Deliberate(
        "linkedit-layout",
        "command",
        "LC_(CODE_SIGNATURE|FUNCTION_STARTS|DATA_IN_CODE|DYLD_EXPORTS_TRIE|DYLD_CHAINED_FIXUPS)",
        "data(off|size)",
    ),
    Deliberate("linkedit-layout", "command", "LC_SEGMENT_64 __LINKEDIT", "vmsize|filesize|fileoff"),
    Deliberate("uuid", "command", "LC_UUID", "uuid"),
    Deliberate("dwarf-compression", "command", "LC_SEGMENT_64 __DWARF", "vmsize|filesize"),
    Deliberate("dwarf-compression", "section", "__DWARF,.*", "addr|size|offset"),
    Deliberate("libraries-of-cgo", "bind", ".*", "flat-lookup"),
    Deliberate("weak-references", "symbol", ".*", "weak-reference"),
    Deliberate("export-trie", "export", ".*", "added"),
)


def find(part: str, place: str, what: str) -> str:
    """The id of the deliberate difference at this place and field, or the empty string."""
    return next((row.id for row in DELIBERATE if row.covers(part, place, what)), "")
