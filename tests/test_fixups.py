"""GOT, stubs, rebases and binds: which reference becomes what, in which order, and every error."""

from __future__ import annotations

import numpy as np
import pytest
from link_tables import content, lay_out, memory, objects, tables

from pielink.arch import amd64
from pielink.errors import LinkError
from pielink.passes.fixups import Dynamic, fixups, place
from pielink.rows import NewReloc, NewSymbol, with_columns
from pielink.tables import UNREACHED, Kind, Memory, Reloc

LEA = b"\x48\x8d\x05\0\0\0\0"
CALL = b"\xe8\0\0\0\0"


def call(offset: int, target: int) -> NewReloc:
    """The relocation of a CALL whose opcode is at `offset`."""
    return NewReloc(offset + 1, target, Reloc.CALL, 4)


def lea(offset: int, target: int) -> NewReloc:
    """The relocation of a LEAQ that starts at `offset`."""
    return NewReloc(offset + 3, target, Reloc.PCREL, 4)


PUTS, READ, ENVIRON = 1, 2, 3
IMPORTED = [NewSymbol(n, Kind.DYNIMPORT) for n in ("puts", "read", "environ")]


def run(
    new: list[NewSymbol], text: list[int] | None = None, pie: bool = True
) -> tuple[Memory, Dynamic]:
    """The pass, on the three dylib symbols in rows 1 to 3 and `new` in rows 4 and up."""
    store = memory()
    symbols, relocs = tables(store, [*IMPORTED, *new])
    symbols = with_columns(symbols, object=np.minimum(np.arange(len(symbols)), 1).astype(np.int32))
    if text is None:
        text = np.flatnonzero(symbols.kind == Kind.TEXT).tolist()
    rows = np.array(text, np.int32)
    return store, fixups(store, objects(["p.a(_go_.o)"]), symbols, relocs, rows, pie)


def test_calls_go_to_stubs_and_leas_load_from_the_got() -> None:
    body = NewSymbol(
        "f", Kind.TEXT, LEA + CALL + CALL, relocs=[lea(0, PUTS), call(7, READ), call(12, READ)]
    )
    store, made = run([body])
    assert made.stubs.got.tolist() == [PUTS, READ]
    assert made.stubs.stubs.tolist() == [READ]
    assert made.relocs.target[:3].tolist() == [
        made.stubs.got_symbol,
        made.stubs.stub_symbol,
        made.stubs.stub_symbol,
    ]
    assert made.relocs.addend[:3].tolist() == [0, 0, 0]
    assert [c.tolist() for c in (made.patches.symbol, made.patches.offset, made.patches.value)] == [
        [4],
        [1],
        [amd64.OPCODE_MOV_LOAD],
    ]
    assert content(store, made.symbols, made.stubs.got_symbol).tobytes() == bytes(16)
    assert content(store, made.symbols, made.stubs.stub_symbol).tobytes() == amd64.STUB
    stub = len(made.relocs) - 1
    assert (made.relocs.target[stub], made.relocs.addend[stub]) == (made.stubs.got_symbol, 8)
    assert (made.relocs.offset[stub], made.relocs.size[stub]) == (2, 4)


def test_entries_follow_the_order_of_the_image() -> None:
    first = NewSymbol("f", Kind.TEXT, CALL, relocs=[call(0, ENVIRON)])
    second = NewSymbol("g", Kind.TEXT, CALL + LEA, relocs=[call(0, READ), lea(5, PUTS)])
    _, made = run([first, second], text=[5, 4])
    assert made.stubs.got.tolist() == [READ, PUTS, ENVIRON]
    assert made.stubs.stubs.tolist() == [READ, ENVIRON]


def test_pointers_in_data_are_rebased_or_bound() -> None:
    data = NewSymbol(
        "d",
        Kind.DATA,
        bytes(40),
        relocs=[
            NewReloc(0, 4),
            NewReloc(8, PUTS, addend=5),
            NewReloc(16, UNREACHED),
            NewReloc(24, 4, Reloc.ADDROFF, 4),
            NewReloc(32, 4, Reloc.METHODOFF, 4),
        ],
    )
    _, made = run([data])
    pointers = made.pointers
    assert (pointers.rebase_symbol.tolist(), pointers.rebase_offset.tolist()) == ([4], [0])
    assert (pointers.bind_symbol.tolist(), pointers.bind_offset.tolist()) == ([4], [8])
    assert (pointers.bind_target.tolist(), pointers.bind_addend.tolist()) == ([PUTS], [5])


def test_got_entries_are_bound_in_a_pie_only() -> None:
    body = NewSymbol("f", Kind.TEXT, CALL, relocs=[call(0, READ)])
    data = NewSymbol("d", Kind.DATA, bytes(8), relocs=[NewReloc(0, 4)])
    _, pie = run([body, data])
    assert pie.pointers.bind_symbol.tolist() == [pie.stubs.got_symbol]
    assert pie.symbols.kind[pie.stubs.got_symbol] == Kind.GOT_RELRO
    _, exe = run([body, data], pie=False)
    assert exe.symbols.kind[exe.stubs.got_symbol] == Kind.GOT
    assert exe.stubs.got.tolist() == [READ]
    assert not len(exe.pointers.bind_symbol)
    assert not len(exe.pointers.rebase_symbol)


def test_without_imports_got_and_stubs_are_empty() -> None:
    _, made = run([NewSymbol("f", Kind.TEXT, b"\xc3")])
    assert made.symbols.size[[made.stubs.got_symbol, made.stubs.stub_symbol]].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("symbol", "message"),
    [
        (
            NewSymbol("f", Kind.TEXT, CALL, relocs=[NewReloc(1, PUTS, Reloc.ADDROFF, 4)]),
            "p.a(_go_.o): f: R_ADDROFF relocation at offset 0x1 to puts: this type of relocation"
            " cannot reach into a dylib",
        ),
        (
            NewSymbol("f", Kind.TEXT, CALL, relocs=[NewReloc(1, PUTS, Reloc.CALL, 4, 9)]),
            "f: R_CALL relocation at offset 0x1 to puts: code cannot refer to an address inside",
        ),
        (
            NewSymbol("d", Kind.DATA, bytes(8), relocs=[NewReloc(4, PUTS, Reloc.PCREL, 4)]),
            "d: R_PCREL relocation at offset 0x4 to puts: data cannot hold a distance",
        ),
        (
            NewSymbol("f", Kind.TEXT, CALL, relocs=[NewReloc(1, PUTS, Reloc.PCREL, 4)]),
            "f: R_PCREL relocation at offset 0x1 to puts: only LEA can take the address",
        ),
        (
            NewSymbol("d", Kind.DATA, bytes(8), relocs=[NewReloc(0, PUTS, size=4)]),
            "d: R_ADDR relocation at offset 0x0 to puts: a pointer to a dylib's symbol takes 8",
        ),
        (
            NewSymbol("d", Kind.DATA, bytes(8), relocs=[NewReloc(0, 4, size=4)]),
            "d: R_ADDR relocation at offset 0x0 to d: a 4-byte absolute address cannot be",
        ),
    ],
)
def test_references_that_no_pie_can_hold(symbol: NewSymbol, message: str) -> None:
    with pytest.raises(LinkError) as caught:
        run([symbol])
    assert message in str(caught.value)


def test_an_executable_at_a_fixed_address_cannot_bind_data() -> None:
    data = NewSymbol("d", Kind.DATA, bytes(8), relocs=[NewReloc(0, PUTS)])
    with pytest.raises(LinkError, match="only a position-independent executable can bind"):
        run([data], pie=False)


def test_fixups_are_sorted_by_address() -> None:
    body = NewSymbol("f", Kind.TEXT, CALL + CALL, relocs=[call(0, READ), call(5, PUTS)])
    two = [NewReloc(8, 4), NewReloc(0, PUTS)]
    new = [body, NewSymbol("d", Kind.DATA, bytes(16), relocs=two)]
    new.append(NewSymbol("t", Kind.TYPE, bytes(8), relocs=[NewReloc(0, 5)]))
    store, made = run(new)
    layout = lay_out(made.symbols)
    found = place(store, made.symbols, made.pointers, layout)
    data, type_, got = layout.address[[5, 6, made.stubs.got_symbol]].tolist()
    assert found.rebase_address.tolist() == [type_, data + 8]
    assert found.bind_address.tolist() == [got, got + 8, data]
    assert found.bind_symbol.tolist() == [READ, PUTS, PUTS]


def test_an_absolute_address_in_code_is_an_error() -> None:
    store, made = run([NewSymbol("f", Kind.TEXT, bytes(8), relocs=[NewReloc(0, 4)])])
    with pytest.raises(LinkError, match="f: the absolute address at offset 0x0 is in memory that"):
        place(store, made.symbols, made.pointers, lay_out(made.symbols))
