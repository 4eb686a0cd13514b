"""String variables that the linker sets: -X, runtime.buildVersion, defaultGOROOT and modinfo.

A definition is "importpath.name=value". Each makes a read-only symbol `importpath.name.str` with
the value and a NUL, and turns the variable into a string that points there. Definitions of
variables that do not exist, have no type, or are not live, are left alone; one of a variable that
is not a string is an error.

Source: addstrdata1, addstrdata in cmd/link/internal/ld/data.go; Main in ld/main.go.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pielink.errors import Problems
from pielink.hints import TYPE_CHECKING
from pielink.options import Definition
from pielink.rows import NewReloc, NewSymbol
from pielink.tables import ABI0, Aux, Kind

if TYPE_CHECKING:
    from pielink.builder import SymbolBuilder
    from pielink.program import Program

BUILD_VERSION, DEFAULT_GOROOT = "runtime.buildVersion", "runtime.defaultGOROOT"
MODINFO = "runtime.modinfo"


def definitions(
    version: str, goroot: str, modinfo: str | None, given: Iterable[Definition]
) -> dict[str, str]:
    """All definitions: symbol -> value, in the order in which Go's linker makes the symbols.

    `version` is that of the compiler, with its experiments; `goroot` may be empty; `modinfo` is
    from the importcfg, `given` from -X, already with escaped import paths. Later ones win, but
    keep the place of the first.
    """
    made = {DEFAULT_GOROOT: goroot} if goroot else {}
    made[BUILD_VERSION] = version
    if modinfo is not None:
        made[MODINFO] = modinfo
    for symbol, value in given:
        made[symbol] = value
    return made


def build_version(version: str, experiment: str) -> str:
    """runtime.buildVersion of a Go release and its GOEXPERIMENT, both as in the environment."""
    if not experiment:
        return version
    return f"{version}{' ' if '-' in version else '-'}X:{experiment}"


def define_strings(builder: SymbolBuilder, values: dict[str, str]) -> None:
    """Set string variables. Raises LinkError that lists all variables that are not strings."""
    program = builder.program
    names = [(name.encode("utf-8", "surrogateescape"), ABI0) for name in values]
    problems = Problems()
    for name, slot in zip(values, program.lookup(names).tolist(), strict=True):
        type_name = _type_name(program, slot)
        if not type_name:
            continue
        if type_name != b"type:string":
            shown = type_name.decode("utf-8", "replace")
            message = f"cannot set with -X: not a var of type string ({shown})"
            problems.add(message, symbol=name)
        elif row := builder.find(name):
            content = values[name].encode("utf-8", "surrogateescape")
            target = builder.define(f"{name}.str", Kind.RODATA, content + b"\0")
            builder.put(row, _variable(builder, name, row, len(content), target))
    problems.raise_if_any()


def _type_name(program: Program, slot: int) -> bytes:
    """The name of a variable's type symbol; empty if there is no such variable or type."""
    _, records = program.auxes.chosen(np.array([slot], np.int32), lambda kinds: kinds == Aux.GOTYPE)
    types = program.targets(program.slots.object[[slot] * len(records)], records).tolist()
    return program.name(types[0]) if types else b""


def _variable(builder: SymbolBuilder, name: str, row: int, length: int, target: int) -> NewSymbol:
    """A string header: pointer and length. The variable keeps its size, and its kind if it has
    content already."""
    kind = builder.kind(row)
    return NewSymbol(
        name,
        Kind.DATA if kind == Kind.BSS else kind,
        bytes(8) + length.to_bytes(8, "little"),
        size=builder.size(row),
        relocs=[NewReloc(0, target)],
    )
