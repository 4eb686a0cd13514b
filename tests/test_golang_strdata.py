"""String variables that the linker sets: -X and the variables of the runtime."""

from __future__ import annotations

import pytest
from reference.golang_program import Made, Maker

from pielink.builder import SymbolBuilder
from pielink.errors import LinkError
from pielink.golang.strdata import build_version, define_strings, definitions
from pielink.options import Definition
from pielink.tables import Aux, Kind, Relocs, Symbols


class Variables:
    """A program with a few variables."""

    def __init__(self) -> None:
        self.maker = Maker()
        self.string = self.maker.symbol("type:string", bytes(48), live=False)
        self.int = self.maker.symbol("type:int", bytes(48), live=False)

    def add(
        self,
        name: str,
        kind: Kind = Kind.BSS,
        of: Made | None = None,
        *,
        live: bool = True,
        typed: bool = True,
        size: int = 16,
    ) -> Made:
        made = self.maker.symbol(name, size=size, kind=kind, live=live)
        if typed:
            made.auxes.append((Aux.GOTYPE, (of or self.string).id))
        return made

    def define(self, values: dict[str, str]) -> tuple[Symbols, Relocs, SymbolBuilder]:
        program, symbols, relocs, _, row_of_slot = self.maker.finish()
        builder = SymbolBuilder(program, symbols, relocs, row_of_slot)  # type: ignore[arg-type]
        define_strings(builder, values)
        symbols, relocs, _ = builder.finish()
        return symbols, relocs, builder


def text(symbols: Symbols, builder: SymbolBuilder, row: int) -> bytes:
    """The content of a row."""
    return builder.memory.get(int(symbols.data_offset[row]), int(symbols.data_size[row]))


def test_a_variable_becomes_a_string_that_points_to_its_value() -> None:
    variables = Variables()
    variables.add("main.version")
    symbols, relocs, builder = variables.define({"main.version": "1.0 é"})
    row, value = builder.find("main.version"), builder.find("main.version.str")
    assert text(symbols, builder, value) == "1.0 é\0".encode()
    assert symbols.kind[value] == Kind.RODATA
    assert symbols.kind[row] == Kind.DATA
    assert text(symbols, builder, row) == bytes(8) + bytes([6]) + bytes(7)
    start = int(symbols.reloc_start[row])
    assert symbols.reloc_count[row] == 1
    assert (relocs.target[start], relocs.offset[start], relocs.size[start]) == (value, 0, 8)


def test_an_initialized_variable_loses_its_old_value() -> None:
    variables = Variables()
    old = variables.maker.symbol("go:string.old", b"old")
    made = variables.add("main.v", Kind.DATA, size=32)
    made.content = bytes(16)
    made.relocs.append((0, 8, 1, 0, old.id))
    symbols, relocs, builder = variables.define({"main.v": "new"})
    row = builder.find("main.v")
    assert symbols.size[row] == 32
    owned = relocs.target[(relocs.owner == row) & (relocs.size != 0)]
    assert owned.tolist() == [builder.find("main.v.str")]


def test_what_is_not_there_is_left_alone() -> None:
    variables = Variables()
    variables.add("main.dead", live=False)
    variables.add("main.untyped", typed=False)
    symbols, _, builder = variables.define({"main.dead": "x", "main.no": "x", "main.untyped": "x"})
    assert not builder.made
    assert symbols.kind[builder.find("main.untyped")] == Kind.BSS


def test_variables_that_are_not_strings_are_reported_together() -> None:
    variables = Variables()
    variables.add("main.a", of=variables.int)
    variables.add("main.b", of=variables.int, live=False)
    with pytest.raises(LinkError) as raised:
        variables.define({"main.a": "1", "main.b": "2"})
    why = "cannot set with -X: not a var of type string (type:int)"
    assert [str(p) for p in raised.value.problems] == [f"main.a: {why}", f"main.b: {why}"]


def test_order_and_precedence_of_definitions() -> None:
    given = [
        Definition("main.a", "1"),
        Definition("runtime.modinfo", "m"),
        Definition("main.a", "2"),
    ]
    made = definitions("go1.27.3", "/go", "from importcfg", given)
    assert list(made.items()) == [
        ("runtime.defaultGOROOT", "/go"),
        ("runtime.buildVersion", "go1.27.3"),
        ("runtime.modinfo", "m"),
        ("main.a", "2"),
    ]
    assert list(definitions("go1.27.3", "", None, [])) == ["runtime.buildVersion"]


def test_new_symbols_come_in_the_order_of_definitions() -> None:
    variables = Variables()
    for name in ("main.a", "main.b", "main.c"):
        variables.add(name)
    _, _, builder = variables.define({"main.c": "", "main.a": "", "main.b": ""})
    rows = [builder.find(f"main.{name}.str") for name in "cab"]
    assert rows == list(range(rows[0], rows[0] + 3))


@pytest.mark.parametrize(
    ("version", "experiment", "shown"),
    [
        ("go1.27.3", "", "go1.27.3"),
        ("go1.27.3", "jsonv2", "go1.27.3-X:jsonv2"),
        ("go1.27-custom", "jsonv2,arenas", "go1.27-custom X:jsonv2,arenas"),
    ],
)
def test_build_version_names_experiments(version: str, experiment: str, shown: str) -> None:
    assert build_version(version, experiment) == shown
