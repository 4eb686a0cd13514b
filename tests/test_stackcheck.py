"""The stack check: random call graphs against the plain twin, and Go's own messages."""

from __future__ import annotations

import functools
import random
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from go_inputs import RELEASE, go_environment, go_inputs, goroot, locked
from program_tables import Ref, Sym, program, reach, slot
from reference.stackcheck import INFINITE, Checker

from pielink.errors import FormatError, LinkError
from pielink.golang.callgraph import size_lines
from pielink.golang.flags import parse_link_flags
from pielink.golang.stackchains import Calls
from pielink.golang.stackcheck import check_stack, depths, limit
from pielink.golang.stackgraph import stack_graph
from pielink.options import LinkOptions
from pielink.passes.codecheck import check_code, print_dependencies
from pielink.passes.live import live
from pielink.passes.read import read
from pielink.passes.resolve import resolve
from pielink.passes.text import text_order
from pielink.pipeline import link
from pielink.program import Program
from pielink.tables import FLAG_NOSPLIT, I4, Aux, Auxes, Kind, Memory, Reloc, Relocs, Symbols

ENTRY = (b"_rt0_amd64_darwin",)
CASE = Path(__file__).parent / "cases" / "nosplit-overrun"


class Tables(NamedTuple):
    """What the check takes."""

    memory: Memory
    symbols: Symbols
    relocs: Relocs
    auxes: Auxes
    morestack: int


def varint(value: int) -> bytes:
    """An unsigned LEB128 number."""
    out = b""
    while value >= 0x80:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def pcsp(steps: Sequence[tuple[int, int]]) -> bytes:
    """A pc-sp table of (stack depth, bytes of code)."""
    out, before = b"", -1
    for depth, size in steps:
        change = depth - before
        out, before = out + varint(change << 1 if change >= 0 else -change * 2 - 1), depth
        out += varint(size)
    return out + b"\0"


def function(
    name: str, steps: Sequence[tuple[int, int]], calls: Sequence[tuple[int, str]], nosplit: bool
) -> list[Sym]:
    """A function with its tables; a call is (offset, name), "" for an indirect one."""
    refs = [Ref(Reloc.CALL if t else Reloc.CALLIND, t, at, size=4 if t else 0) for at, t in calls]
    auxes = [(Aux.FUNCINFO, "info"), (Aux.PCSP, f"{name}.pcsp")]
    flags = FLAG_NOSPLIT if nosplit else 0
    table = Sym(f"{name}.pcsp", Kind.RODATA, pcsp(steps))
    return [Sym(name, Kind.TEXT, bytes(64), refs, auxes, flags), table]


def tables_of(functions: list[Sym]) -> Tables:
    """The tables of a program in which all of these are live."""
    calls = [Ref(Reloc.PCREL, s.name, size=4) for s in functions if s.kind == Kind.TEXT]
    made = program([
        *function("runtime.morestack", [(0, 8), (900, 8)], [(12, "external")], True),
        Sym("main..inittask", Kind.NOPTR_DATA),
        Sym("entry", refs=[*calls, Ref(Reloc.PCREL, "runtime.morestack", size=4)]),
        Sym("external"),
        Sym("info", Kind.RODATA),
        *functions,
    ])  # fmt: skip
    symbols, relocs, auxes, row_of_slot = live(made, reach(made, (b"entry",)))
    morestack = int(row_of_slot[slot(made, "runtime.morestack")])
    return Tables(made.memory, symbols, relocs, auxes, morestack)


def random_functions(rng: random.Random, circles: bool) -> list[Sym]:
    """Functions that call each other; without circles, only later ones."""
    count = rng.randint(2, 20)
    made = []
    for i in range(count):
        depths_ = rng.sample([0, 8, 16, 40, 120, 400], rng.randint(0, 4))
        steps = [(depth, rng.choice([1, 5, 40])) for depth in depths_]
        others = [f"f{j}" for j in range(0 if circles else i + 1, count)]
        others += ["external", "runtime.morestack", ""]
        size = sum(s for _, s in steps) + 2
        sites = sorted(rng.sample(range(size), rng.randint(0, min(size, 3))))
        calls = [(at, rng.choice(others)) for at in sites]
        made += function(f"f{i}", steps, calls, rng.random() < 0.8)
    return made


@pytest.mark.parametrize("seed", range(100))
def test_random_graphs_against_the_twin(seed: int) -> None:
    rng = random.Random(seed)
    circles = seed % 3 == 0
    tables = tables_of(random_functions(rng, circles))
    graph = stack_graph(*tables)
    twin = Checker(*tables)
    want = [twin.height(row) for row in range(len(tables.symbols))]
    calls = Calls(graph)
    rows = np.flatnonzero(graph.nosplit).tolist()
    assert [calls.depth_of(row) for row in rows] == [want[row] for row in rows]
    most = rng.choice([64, 200, 792])
    if INFINITE not in want:
        assert depths(graph, 2**20).tolist() == want
    assert (depths(graph, most) > most).any() == (max(want) > most)


def test_a_chain_that_just_fits_and_one_that_does_not() -> None:
    assert limit(race=False) == 792
    assert limit(race=True) == 1592
    for size, fits in ((792 - 8, True), (792, False)):
        chain = function("a", [(0, 8)], [(1, "b")], True)
        tables = tables_of([*chain, *function("b", [(size, 8)], [], True)])
        if fits:
            check_stack(*tables)
        else:
            check_stack(*tables, race=True)
            with pytest.raises(LinkError, match="8 bytes over limit"):
                check_stack(*tables)


def test_indirect_calls_are_no_circles() -> None:
    """Go's linker says "infinite cycle" here (docs/differences.md)."""
    head = function("a", [(100, 8), (900, 8)], [(1, ""), (12, "b")], True)
    tables = tables_of([*head, *function("b", [(8, 8)], [(1, "")], True)])
    with pytest.raises(LinkError) as failed:
        check_stack(*tables)
    assert str(failed.value).splitlines() == [
        "a: nosplit stack over 792 byte limit",
        "a<0>",
        "    grows 908 bytes, calls b<0>",
        "        grows 16 bytes, calls indirect",
        "            grows 8 bytes, calls runtime.morestack<0>",
        "            140 bytes over limit",
    ]


def test_deep_chains_need_no_deep_recursion() -> None:
    count = 5000
    made = [
        s
        for i in range(count)
        for s in function(f"f{i}", [(0, 8)], [(1, f"f{(i + 1) % count}")], True)
    ]
    with pytest.raises(LinkError, match="f0: nosplit stack over 792 byte limit") as failed:
        check_stack(*tables_of(made))
    assert str(failed.value).endswith("infinite cycle")
    made[-2].refs = []
    with pytest.raises(LinkError, match=f"{8 * (count - 1) - 792} bytes over limit"):
        check_stack(*tables_of(made))


def test_a_flood_of_chains_is_cut_short() -> None:
    """Each function calls the next one twice: 2**30 chains."""
    made = [
        s
        for i in range(30)
        for s in function(f"f{i}", [(100, 8)], [(1, f"f{i + 1}"), (2, f"f{i + 1}")], True)
    ]
    tables = tables_of([*made, *function("f30", [(0, 8)], [], True)])
    with pytest.raises(LinkError, match="f0<0>") as failed:
        check_stack(*tables)
    assert str(failed.value).endswith("the calls are too many to list")


@pytest.mark.parametrize(
    "data",
    [b"\2", b"\2\4\0\4\0", b"\2\4\2\0", b"\2\x84", b"\2\x84\x84\x84\x84\x84\4\0",
     b"\2\xff\xff\xff\xff\x7f\0"],
)  # fmt: skip
def test_malformed_pcsp_tables_are_errors(data: bytes) -> None:
    made = function("f", [], [], True)
    made[1].content = data
    with pytest.raises(FormatError, match=r"malformed pc-sp table 'f\.pcsp'"):
        check_stack(*tables_of(made))


class Loaded(NamedTuple):
    """A real program as far as the check takes it."""

    made: Program
    tables: Tables
    row_of_slot: I4
    text: I4  # functions in the order of their packages


def load(main: Path, importcfg: Path) -> Loaded:
    """Read a program and find out what is live."""
    options = LinkOptions(main=str(main), importcfg=str(importcfg))
    inputs = read(options)
    made = resolve(inputs, options)
    found = reach(made, ENTRY)
    symbols, relocs, auxes, row_of_slot = live(made, found)
    morestack = int(row_of_slot[made.lookup([(b"runtime.morestack", 0)])[0]])
    text = text_order(made, inputs.libraries, row_of_slot, found.pruned_callers)
    return Loaded(made, Tables(made.memory, symbols, relocs, auxes, morestack), row_of_slot, text)


def go_prints(flag: str) -> str:
    """What Go's linker prints with this flag when it links examples/hello."""
    inputs = go_inputs("hello")
    path = inputs.directory / f"go{flag}"
    with locked(path):
        if not path.exists():
            output = inputs.directory / f"go{flag}.out"
            argv = [str(inputs.go_linker()), *inputs.link_argv(output, ("-w", flag))]
            done = subprocess.run(
                argv, check=True, env=inputs.tool_environment(), capture_output=True, text=True
            )
            output.unlink()
            path.write_text(done.stdout)
    return path.read_text()


@pytest.mark.parametrize(
    ("flag", "field"), [("-debugnosplit", "debug_nosplit"), ("-c", "dump_call_graph")]
)
def test_flags_print_what_gos_linker_prints(
    flag: str, field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = go_inputs("hello")
    loaded = load(inputs.main_archive, inputs.importcfg)
    options = LinkOptions(main=str(inputs.main_archive), **{field: True})
    tables = loaded.tables[1:4]
    check_code(loaded.made, options, *tables, loaded.row_of_slot, loaded.text)
    theirs = [line for line in go_prints(flag).splitlines() if "size=" not in line]
    assert capsys.readouterr().out.splitlines() == [x for x in theirs if "total=" not in x]


def test_sizes_are_those_of_gos_linker(tmp_path: Path) -> None:
    inputs = go_inputs("hello")
    argv = inputs.link_argv(tmp_path / "hello", ("-w",))
    result = link(parse_link_flags(argv, inputs.tool_environment()))
    lines = size_lines(result.layout)
    assert lines == go_prints("-c").splitlines()[-len(lines) :]


def test_dumpdep_prints_what_gos_linker_prints(capsys: pytest.CaptureFixture[str]) -> None:
    inputs = go_inputs("hello")
    print_dependencies(load(inputs.main_archive, inputs.importcfg).made, ENTRY)
    assert capsys.readouterr().out == go_prints("-dumpdep")


def test_overruns_read_as_gos_linker_writes_them(tmp_path: Path) -> None:
    go, environment = str(goroot(RELEASE) / "bin" / "go"), go_environment(RELEASE)
    run = functools.partial(
        subprocess.run, cwd=CASE, env=environment, capture_output=True, text=True
    )
    form = "{{if .Export}}packagefile {{.ImportPath}}={{.Export}}{{end}}"
    listed = run([go, "list", "-buildmode=pie", "-export", "-deps", "-f", form, "."], check=True)
    importcfg = tmp_path / "importcfg"
    importcfg.write_text(listed.stdout)
    paths = dict(line.split(" ", 1)[1].split("=", 1) for line in listed.stdout.splitlines())
    theirs = run([go, "build", "-buildmode=pie", "-o", str(tmp_path / "out"), "."]).stderr
    tables = load(Path(paths["overrun"]), importcfg).tables
    with pytest.raises(LinkError) as failed:
        check_stack(*tables)
    assert str(failed.value).splitlines() == theirs.splitlines()[1:]
