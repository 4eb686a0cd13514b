"""Live symbols: random programs against the plain twin, each rule, and what Go's linker finds."""

from __future__ import annotations

import functools
import random
import re
import subprocess

import numpy as np
import pytest
from go_inputs import PREVIOUS_RELEASE, RELEASE, GoInputs, go_inputs, locked
from program_tables import (
    Ref,
    Sym,
    interface_symbol,
    name_symbol,
    program,
    random_symbols,
    reach,
    slot,
    type_symbol,
)
from reference import reach as plain

from pielink.errors import FormatError, LinkError
from pielink.golang.dumpdep import DependencyDump
from pielink.golang.inittasks import init_tasks, list_symbols
from pielink.golang.release import RELEASES
from pielink.options import LinkOptions
from pielink.passes.reach import Reach, roots
from pielink.passes.read import read
from pielink.passes.resolve import resolve
from pielink.program import Program
from pielink.tables import FLAG_REFLECT_METHOD, Aux, Kind, Reloc

ENTRIES = (b"entry", b"entry.1")
MAIN_ENTRY = (b"_rt0_amd64_darwin",)


@pytest.mark.parametrize("seed", range(150))
def test_random_programs_against_the_twin(seed: int) -> None:
    rng = random.Random(seed)
    made = program(random_symbols(rng), rng=rng)
    how = {"dwarf": rng.random() < 0.3, "dynlink": rng.random() < 0.1}
    found = reach(made, ENTRIES, prune_weak_map=seed % 5 != 0, **how)
    tasks = found.tasks
    start = [*roots(made, ENTRIES).tolist(), *tasks.main.tolist()]
    want = plain.reach(made, start, tasks.runtime.tolist(), prune=seed % 5 != 0, **how)
    live = set(np.flatnonzero(found.reachable).tolist())
    assert live == want.live
    used = set(np.flatnonzero(found.used_in_iface).tolist())
    assert used & live == want.used_in_iface & live
    assert set(found.pruned_calls.tolist()) == want.pruned


def test_random_programs_reach_neither_nothing_nor_everything() -> None:
    """The generator is worth something: programs have live and dead symbols of every kind."""
    share, pruned = [], 0
    for seed in range(40):
        made = program(random_symbols(random.Random(seed)))
        found = reach(made, ENTRIES)
        share.append(found.reachable.mean())
        pruned += len(found.pruned_calls)
    assert 0.2 < np.mean(share) < 0.9
    assert pruned


def made_program(*symbols: Sym, release: str = "1.27") -> Program:
    """A program of these symbols and what every program has."""
    base = [Sym("main..inittask", Kind.NOPTR_DATA, bytes(8)), Sym("runtime.mapinitnoop", version=1)]
    return program([*symbols, *base], release)


def live_names(made: Program, **how: bool) -> set[str]:
    """The names of what is live."""
    found = reach(made, (b"entry",), **how)
    return {made.name(s).decode() for s in np.flatnonzero(found.reachable).tolist()}


def method_program(*refs: Ref, flags: int = 0, release: str = "1.27") -> Program:
    """entry() converts T, which has methods Read and close, to an interface; and has `refs`."""
    methods = [("nRead", "func", "r1", "r2"), ("nclose", "func", "c1", "c2")]
    converts = Ref(Reloc.USEIFACE, "T")
    return made_program(
        Sym("entry", refs=[converts, Ref(Reloc.PCREL, "T", size=4), *refs], flags=flags),
        *(Sym(f) for f in ("r1", "r2", "c1", "c2")),
        *(name_symbol("nRead", "Read"), name_symbol("nclose", "close")),
        name_symbol("same", "close"),
        *(type_symbol("func", 19), type_symbol("other", 19)),
        interface_symbol("Reader", [("nRead", "func"), ("same", "func"), ("nRead", "other")]),
        Sym("named", Kind.RODATA, b"close"),
        type_symbol("T", 21, methods, release=RELEASES[release]),
        release=release,
    )


CALLS = {
    "nothing": ([], 0, set()),
    "interface method": ([Ref(Reloc.USEIFACEMETHOD, "Reader", addend=80)], 0, {"r1", "r2"}),
    "same name elsewhere": ([Ref(Reloc.USEIFACEMETHOD, "Reader", addend=88)], 0, {"c1", "c2"}),
    "other type": ([Ref(Reloc.USEIFACEMETHOD, "Reader", addend=96)], 0, set()),
    "by name": ([Ref(Reloc.USENAMEDMETHOD, "named")], 0, {"c1", "c2"}),
    "reflection": ([], FLAG_REFLECT_METHOD, {"r1", "r2"}),
}


@pytest.mark.parametrize("release", ["1.26", "1.27"])
@pytest.mark.parametrize("call", CALLS)
def test_which_methods_a_call_makes_live(call: str, release: str) -> None:
    refs, flags, want = CALLS[call]
    live = live_names(method_program(*refs, flags=flags, release=release))
    assert live & {"r1", "r2", "c1", "c2"} == want


def test_plugins_make_every_method_live() -> None:
    assert {"r1", "r2", "c1", "c2"} <= live_names(method_program(), dynlink=True)


def test_a_type_only_mentioned_keeps_no_methods() -> None:
    call = Ref(Reloc.USEIFACEMETHOD, "Reader", addend=80)
    made = made_program(
        Sym("entry", refs=[call, Ref(Reloc.PCREL, "T", size=4)]),
        name_symbol("n", "Read"),
        *(type_symbol("func", 19), Sym("r1"), Sym("r2")),
        interface_symbol("Reader", [("n", "func")]),
        type_symbol("T", 2, [("n", "func", "r1", "r2")]),
    )
    assert live_names(made) & {"T", "r1", "r2", "Reader", "n"} == {"T", "n"}


def test_types_inside_a_converted_type_count_as_converted() -> None:
    made = made_program(
        Sym("entry", refs=[Ref(Reloc.USEIFACE, "itab"), Ref(Reloc.PCREL, "outer", size=4)]),
        Sym("itab", Kind.RODATA, bytes(24), [Ref(Reloc.ADDR, "outer", 8, size=8)], flags2=2),
        type_symbol("outer", 25, children=["inner"]),
        type_symbol("inner", 25, children=["innermost"]),
        type_symbol("innermost", 2),
        type_symbol("apart", 2),
    )
    found = reach(made, (b"entry",))
    used = {made.name(s).decode() for s in np.flatnonzero(found.used_in_iface).tolist()}
    assert used == {"outer", "inner", "innermost"}


def test_dwarf_symbols_live_only_on_request() -> None:
    auxes = [(Aux.FUNCINFO, "info"), (Aux.DWARF_INFO, "die"), (Aux.GOTYPE, "type")]
    parts = [Sym(n, Kind.RODATA) for n in ("info", "die", "type")]
    made = made_program(Sym("entry", auxes=auxes), *parts)
    assert live_names(made) >= {"info"}
    assert live_names(made).isdisjoint({"die", "type"})
    assert live_names(made, dwarf=True) >= {"info", "die"}


def test_exports_are_roots() -> None:
    made = made_program(Sym("entry"), Sym("exported"))
    found = reach(made, (b"entry",), np.array([slot(made, "exported")], np.int32))
    assert found.reachable[slot(made, "exported")]


HOSTILE = {
    "entry has a marker that refers to nothing": [Sym("entry", refs=[Ref(Reloc.USEIFACE, "")])],
    "is converted to an interface, but is neither": [Sym("entry", refs=[Ref(Reloc.USEIFACE, "x")])],
    "is not an interface, but is called as one": [
        Sym("entry", refs=[Ref(Reloc.USEIFACEMETHOD, "T", addend=80)])
    ],
    "x is no type descriptor": [Sym("entry", refs=[Ref(Reloc.USEIFACEMETHOD, "x")])],
    "a torn method relocation": [
        Sym("entry", refs=[Ref(Reloc.USEIFACE, "U"), Ref(Reloc.PCREL, "U")]),
        Sym("U", Kind.RODATA, bytes(64), [Ref(Reloc.METHODOFF, "x")] * 2, flags=64),
    ],
    "is a type without methods, but has": [
        Sym("entry", refs=[Ref(Reloc.USEIFACE, "U"), Ref(Reloc.PCREL, "U")]),
        Sym("U", Kind.RODATA, bytes(64), [Ref(Reloc.METHODOFF, "x")] * 3, flags=64),
    ],
    "whose methods lie outside of it": [
        Sym("entry", refs=[Ref(Reloc.USEIFACE, "U"), Ref(Reloc.PCREL, "U")]),
        Sym(
            "U",
            Kind.RODATA,
            bytes(20) + b"\1" + bytes(31) + b"\xff\xff\0\0\x10\0\0\0" + bytes(20),
            [Ref(Reloc.METHODOFF, "x")] * 3,
            flags=64,
        ),
    ],
    "has methods that its relocations miss": [
        Sym("entry", refs=[Ref(Reloc.USEIFACE, "V"), Ref(Reloc.PCREL, "V")])
    ],
    "is a name that is cut short": [
        Sym("entry", refs=[Ref(Reloc.USEIFACEMETHOD, "I", addend=80)]),
        interface_symbol("I", [("cut", "T")]),
        Sym("cut", Kind.RODATA, b"\1\x90"),
    ],
}


@pytest.mark.parametrize("message", HOSTILE)
def test_malformed_types_are_errors_that_name_the_file(message: str) -> None:
    torn = type_symbol("V", 2, [("x", "x", "x", "x")])
    torn.refs = [r for r in torn.refs if r.type == Reloc.METHODOFF]
    for ref in torn.refs:
        ref.offset += 4
    made = made_program(*HOSTILE[message], Sym("x", Kind.RODATA), type_symbol("T", 2), torn)
    with pytest.raises(FormatError, match=rf"p\d\.a: .*{message}"):
        reach(made, (b"entry",))


def test_init_tasks_come_after_what_they_import_then_by_name() -> None:
    order = RELEASES["1.27"].reloc_initorder
    imports = {"main": "cab", "c": "x", "a": "x", "b": "", "x": "", "runtime": "x"}
    tasks = [
        Sym(f"{p}..inittask", content=bytes(8 if p == "b" else 16), refs=[
            Ref(order, f"{q}..inittask") for q in needs
        ])
        for p, needs in imports.items()
    ]  # fmt: skip
    made = program([*tasks, Sym("runtime.runtime_inittasks", Kind.BSS)])
    found = init_tasks(made)
    names = [made.name(s).decode()[0] for s in found.main.tolist()]
    assert names == ["x", "a", "c", "m"]
    assert [made.name(s).decode()[0] for s in found.runtime.tolist()] == ["x", "r"]

    rows = np.arange(len(made.slots.canon), dtype=np.int32) + 100
    new, header = list_symbols(found, rows, 500)
    assert [s.name for s in new] == ["go:main.inittasks", "go:runtime.inittasks"]
    assert [r.target for r in new[0].relocs] == rows[found.main].tolist()
    assert header is not None
    assert header.content == bytes(8) + (2).to_bytes(8, "little") * 2
    assert [r.target for r in header.relocs] == [501]


def test_packages_that_import_each_other_are_an_error() -> None:
    order = RELEASES["1.27"].reloc_initorder
    made = program([
        Sym("main..inittask", refs=[Ref(order, "a..inittask")]),
        Sym("a..inittask", refs=[Ref(order, "b..inittask")]),
        Sym("b..inittask", refs=[Ref(order, "a..inittask")]),
    ])  # fmt: skip
    with pytest.raises(LinkError, match=r"a\.\.inittask: inittask is not schedulable"):
        init_tasks(made)


@functools.cache
def loaded(name: str, release: str) -> tuple[GoInputs, Program]:
    """A real program, read and resolved; the rules of linkname have tests of their own."""
    inputs = go_inputs(name, release)
    files = {"main": str(inputs.main_archive), "importcfg": str(inputs.importcfg)}
    options = LinkOptions(**files, check_linkname=False)
    return inputs, resolve(read(options), options)


def go_dependencies(inputs: GoInputs) -> list[str]:
    """What `go tool link -dumpdep` prints."""
    path = inputs.directory / "dumpdep"
    with locked(path):
        if not path.exists():
            output = inputs.directory / "dumpdep.out"
            argv = [str(inputs.go_linker()), *inputs.link_argv(output, ("-w", "-dumpdep"))]
            done = subprocess.run(
                argv, check=True, env=inputs.tool_environment(), capture_output=True, text=True
            )
            path.write_text(done.stdout)
            output.unlink()
    return path.read_text().splitlines()


@pytest.mark.parametrize(
    ("name", "release"),
    [("hello", RELEASE), ("hello", PREVIOUS_RELEASE), ("cmd/gofmt", RELEASE),
     pytest.param("cmd/compile", RELEASE, marks=pytest.mark.slow)],
)  # fmt: skip
def test_dumpdep_prints_what_gos_linker_prints(name: str, release: str) -> None:
    inputs, made = loaded(name, release)
    dump = DependencyDump(made, init_tasks(made))
    assert list(dump.walk(roots(made, MAIN_ENTRY).tolist())) == go_dependencies(inputs)


@pytest.mark.parametrize("name", ["hello", "cmd/gofmt"])
def test_live_functions_are_those_of_gos_linker(name: str) -> None:
    inputs, made = loaded(name, RELEASE)
    found: Reach = reach(made, MAIN_ENTRY)
    named = re.compile(r" (?:<UsedInIface>|<ReflectMethod>)+$")
    theirs = {named.sub("", line.split(" -> ", 1)[1]) for line in go_dependencies(inputs)}
    live = np.flatnonzero(found.reachable)
    text = live[(made.slots.kind[live] == Kind.TEXT) | (made.slots.kind[live] == Kind.TEXT_FIPS)]
    names = {made.name(s).decode() for s in text.tolist()}
    assert names - theirs == {"runtime.mapinitnoop"}
