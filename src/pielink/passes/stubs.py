"""How code reaches the symbols of dylibs: the GOT, the stubs, and what binds stubs lazily.

A GOT entry is a pointer that dyld fills with the address of one symbol. A stub is a jump through
such a pointer, for calls. If stubs bind at load time (`-bind=now`), they jump through the GOT. If
they bind at the first call (`-bind=lazy`), each has a lazy pointer of its own:

    .plt             jmp  *lazy_pointer[i]
    .la_symbol_ptr   at first the address of entry i of the stub helper, then that of the function
    .stub_helper     header:  push the address of _dyld_private; jmp *GOT[dyld_stub_binder]
                     entry i: push the offset of the symbol's opcodes in the lazy bind stream;
                              jmp header

dyld_stub_binder binds the pointer and jumps on to the function. It keeps a word of its own in
_dyld_private. Source: ld64's and lld's StubHelperSection; dyld's dyld_stub_binder.s.
"""

from __future__ import annotations

import numpy as np

from pielink.arch import amd64
from pielink.arrays import append
from pielink.errors import LinkError, Problem
from pielink.record import Record
from pielink.rows import NewReloc, NewSymbol, with_columns
from pielink.tables import I4, I8, U1, U4, Imports, Kind, Layout, Reloc

BINDER = "dyld_stub_binder"


class Stubs(Record):
    """The symbols to append, from row `got_symbol` on, and what each entry of them is for."""

    got: I4  # row of the dylib symbol of each GOT entry, POINTER_SIZE bytes apart
    stubs: I4  # row of the dylib symbol of each stub, STUB_SIZE bytes apart
    got_symbol: int
    made: list[NewSymbol]
    lazy: bool = False
    early: int = 0  # if `lazy`: how many of the last stubs jump through the GOT all the same

    @property
    def late(self) -> I4:
        """The dylib symbols that are bound at the first call, one for each lazy pointer."""
        return self.stubs[: len(self.stubs) - self.early if self.lazy else 0]

    @property
    def stub_symbol(self) -> int:
        """The row of the stubs."""
        return self.got_symbol + 1

    @property
    def pointer_symbol(self) -> int:
        """The row of the lazy pointers, if `lazy`."""
        return self.got_symbol + 2

    @property
    def helper_symbol(self) -> int:
        """The row of the stub helper, if `lazy`."""
        return self.got_symbol + 3

    @property
    def binder(self) -> int:
        """The row of dyld_stub_binder, if `lazy`."""
        return self.got_symbol + 5

    @property
    def indirect(self) -> I4:
        """The dylib symbol of each entry of the indirect symbol table."""
        return np.concatenate([self.stubs, self.got, self.late]).astype(np.int32)


def stubs_at_load(got: I4, stubs: I4, first: int, pie: bool) -> Stubs:
    """Stubs that jump through the GOT; `got` holds the symbols of `stubs` as well.

    `first` is the row that the first new symbol will have.
    """
    made = [_got(len(got), pie), _stubs(_jumps(first, _places(got, stubs)))]
    return Stubs(got, stubs, first, made)


def _places(got: I4, symbols: I4) -> I8:
    """Where in the GOT each of the symbols is."""
    place = np.zeros(max(got.max(initial=0), symbols.max(initial=0)) + 1, np.int64)
    place[got] = np.arange(len(got))
    return place[symbols]


def stubs_at_first_call(got: I4, late: I4, early: I4, first: int) -> Stubs:
    """Stubs with lazy pointers for `late`, and through the GOT for `early`.

    `got` holds the symbols of `early` and those that code loads the address of. `first` is the row
    that the first new symbol will have.
    """
    entries = np.arange(len(late))
    result = Stubs(
        *(append(got, np.int32(first + 5)), append(late, early), first, []),
        lazy=True,
        early=len(early),
    )
    targets = amd64.HELPER_HEADER_SIZE + entries * amd64.HELPER_ENTRY_SIZE
    pointers = NewSymbol(
        ".la_symbol_ptr",
        Kind.LAZY_POINTERS,
        bytes(len(late) * amd64.POINTER_SIZE),
        align=amd64.POINTER_SIZE,
        relocs=[
            NewReloc(i * amd64.POINTER_SIZE, result.helper_symbol, addend=target)
            for i, target in enumerate(targets.tolist())
        ],
    )
    made = [
        _got(len(result.got), pie=True),
        _stubs(
            _jumps(result.pointer_symbol, entries),
            _jumps(first, _places(got, early), len(late)),
        ),
        pointers,
        _helper(result),
        NewSymbol("_dyld_private", Kind.NOPTR_DATA, bytes(amd64.POINTER_SIZE)),
        NewSymbol(BINDER, Kind.DYNIMPORT),
    ]
    return with_columns(result, made=made)


def _got(entries: int, pie: bool) -> NewSymbol:
    """Zeros, for dyld to fill."""
    kind = Kind.GOT_RELRO if pie else Kind.GOT
    return NewSymbol(".got", kind, bytes(entries * amd64.POINTER_SIZE), align=4)


def _jumps(table: int, entry: I8, first: int = 0) -> list[NewReloc]:
    """Where stubs, from number `first` on, jump: pointers `entry` of the symbol in row `table`."""
    return [
        NewReloc(
            offset=i * amd64.STUB_SIZE + amd64.STUB_DISPLACEMENT,
            target=table,
            type=Reloc.PCREL,
            size=4,
            addend=index * amd64.POINTER_SIZE,
        )
        for i, index in enumerate(entry.tolist(), first)
    ]


def _stubs(*jumps: list[NewReloc]) -> NewSymbol:
    relocs = [jump for part in jumps for jump in part]
    return NewSymbol(".plt", Kind.STUBS, amd64.STUB * len(relocs), relocs=relocs)


def _helper(stubs: Stubs) -> NewSymbol:
    """The stub helper; `set_lazy_offsets` completes its entries."""
    private = stubs.got_symbol + 4
    binder = (len(stubs.got) - 1) * amd64.POINTER_SIZE
    relocs = [
        NewReloc(amd64.HELPER_PRIVATE_AT, private, Reloc.PCREL, 4),
        NewReloc(amd64.HELPER_BINDER_AT, stubs.got_symbol, Reloc.PCREL, 4, binder),
    ]
    for i in range(len(stubs.late)):
        at = amd64.HELPER_HEADER_SIZE + i * amd64.HELPER_ENTRY_SIZE + amd64.HELPER_JUMP_AT
        relocs.append(NewReloc(at, stubs.helper_symbol, Reloc.PCREL, 4))
    content = amd64.HELPER_HEADER + amd64.HELPER_ENTRY * len(stubs.late)
    return NewSymbol(".stub_helper", Kind.STUB_HELPER, content, align=4, relocs=relocs)


def with_binder(imports: Imports, stubs: Stubs) -> Imports:
    """The imports, and dyld_stub_binder if stubs bind lazily.

    LinkError if the program does not load libSystem, which has it.
    """
    if not stubs.lazy:
        return imports
    if amd64.LIBSYSTEM not in imports.dylibs:
        message = f"-bind=lazy needs {amd64.LIBSYSTEM}, which this program does not load"
        raise LinkError([Problem(f"{message}: use -bind=now")])
    return Imports(
        symbol=append(imports.symbol, np.int32(stubs.binder)),
        name=[*imports.name, BINDER.encode()],
        ordinal=append(imports.ordinal, np.int32(imports.dylibs.index(amd64.LIBSYSTEM) + 1)),
        weak=append(imports.weak, False),
        dylibs=imports.dylibs,
    )


def set_lazy_offsets(image: U1, layout: Layout, stubs: Stubs, offset: U4) -> None:
    """Write the operand of each helper entry's push: `offset` in the lazy bind stream."""
    section = layout.sections
    ordinal = int(layout.section[stubs.helper_symbol]) - 1
    start = int(layout.address[stubs.helper_symbol] - section.address[ordinal])
    start += int(section.offset[ordinal]) + amd64.HELPER_HEADER_SIZE + amd64.HELPER_PUSH_AT
    place = start + np.arange(len(offset)) * amd64.HELPER_ENTRY_SIZE
    image[place[:, None] + np.arange(4)] = offset.astype("<u4").view(np.uint8).reshape(-1, 4)
