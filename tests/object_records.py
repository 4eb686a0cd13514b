"""The blocks of relocations, auxiliary symbols and contents of an object, made from lists."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from pielink.formats import goobj
from pielink.tables import I8, Memory


class Definition(NamedTuple):
    """What one symbol has: records with the fields of goobj.RELOC and goobj.AUX, and contents."""

    relocs: Sequence[tuple[int, ...]]
    auxes: Sequence[tuple[int, ...]]
    content: bytes


def put_blocks(memory: Memory, definitions: Sequence[Definition]) -> dict[int, int]:
    """Add the blocks to the memory; the offset of each, and of what follows the last."""
    relocs, auxes, contents = zip(*definitions, strict=True)
    parts = {
        goobj.RELOCIDX: _index(relocs),
        goobj.AUXIDX: _index(auxes),
        goobj.DATAIDX: _index(contents),
        goobj.RELOC_BLOCK: _packed(relocs, goobj.RELOC),
        goobj.AUX_BLOCK: _packed(auxes, goobj.AUX),
        goobj.DATA: b"".join(contents),
    }
    ends = itertools.accumulate(map(len, parts.values()), initial=0)
    start = memory.add(b"".join(parts.values()))
    return {block: start + end for block, end in zip([*parts, goobj.REFNAME], ends, strict=True)}


def _index(rows: Sequence[Sequence[Any] | bytes]) -> bytes:
    return np.cumsum([0, *map(len, rows)]).astype("<u4").tobytes()


def _packed(rows: Sequence[Sequence[tuple[int, ...]]], dtype: np.dtype[Any]) -> bytes:
    return np.array(list(itertools.chain(*rows)), dtype).tobytes()


def with_blocks(blocks: I8, offsets: dict[int, int]) -> I8:
    """The offsets of all objects' blocks with these ones put in, the same for each object."""
    for block, offset in offsets.items():
        blocks[:, block] = offset
    return blocks
