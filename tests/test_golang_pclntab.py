"""The function tables: the array passes against their plain twin, on random programs."""

from __future__ import annotations

import random
import struct
from contextlib import suppress

import numpy as np
import pytest
from reference.golang_pclntab import Blob, Function, Info, InlinedCall, Tables, findfunctab
from reference.golang_program import Made, Maker

from pielink.errors import FormatError, LinkError, PielinkError
from pielink.golang import pclntab
from pielink.golang.findfunctab import findfunctab as fast_findfunctab
from pielink.golang.pcfiles import expand_file, expand_files
from pielink.golang.pclntab import PclnTables
from pielink.rows import extend
from pielink.tables import ABI_INTERNAL, STATIC, Aux, Kind, Reloc

TEXT_START = 0x1001000


class Program:
    """A random program, plain and as tables."""

    def __init__(self, seed: int, count: int = 40) -> None:
        self.random = random.Random(seed)
        pick = self.random
        shared = [f"$GOROOT/src/file{i}.go".encode() for i in range(6)]
        own = [[f"/src/{unit}/{i}.go".encode() for i in range(4)] for unit in range(5)]
        self.files = [[], *(pick.sample(shared + own[unit], 7) for unit in range(1, 5))]
        self.assembly = {4}
        self.maker = Maker(self.files, self.assembly)
        self.made: dict[object, Made] = {}
        self.tables = [self.blob(0, 40) for _ in range(30)]
        self.data = [self.blob(1, 60, refers=True) for _ in range(30)]
        self.inlinable = [self.inlinable_function(i) for i in range(12)]
        self.deferreturn = self.maker.symbol(
            "runtime.deferreturn", kind=Kind.TEXT, version=ABI_INTERNAL
        )
        self.functions = [self.function(i) for i in range(count)]

    def blob(self, least: int, most: int, refers: bool = False) -> Blob:
        pick = self.random
        size = pick.randint(least, most)
        content = pick.randbytes(size - pick.choice([0, 0, min(3, size)]))
        blob = Blob(content, size, pick.choice([0, 0, 1, 4, 8]))
        made = self.maker.symbol("data", content, size=size, align=blob.align, version=STATIC)
        if refers and size >= 8 and pick.random() < 0.4:
            target = self.maker.symbol(f"mask{len(self.made)}", b"\1")
            blob.refers.append((4, pick.randint(0, 9), target))
            made.relocs.append((4, 4, Reloc.ADDROFF, blob.refers[0][1], target.id))
        self.made[blob] = made
        return blob

    def inlinable_function(self, number: int) -> Function:
        pick = self.random
        function = Function(f"inlined{number}", pick.randint(1, 3))
        function.info = Info(0, pick.randint(0, 20), 0, pick.randint(1, 999), [], [])
        self.add(function, live=False)
        return function

    def function(self, number: int) -> Function:
        pick = self.random
        unit = pick.randint(1, 4)
        function = Function(f"main.f{number}·x", unit, pick.randint(0, 3000))
        if pick.random() < 0.9:
            self.describe(function, unit)
        function.deferreturn = sorted(pick.sample(range(1, 90), pick.choice([0, 0, 1, 2])))
        self.add(function, live=True)
        self.inlinable.append(function) if function.info else None
        return function

    def describe(self, function: Function, unit: int) -> None:
        pick = self.random
        calls = [
            InlinedCall(pick.randrange(7), pick.choice(self.inlinable), pick.randint(0, 99))
            for _ in range(pick.choice([0, 0, 1, 5]))
        ]
        files = [pick.randrange(7) for _ in range(pick.randint(0, 3))]
        function.info = Info(
            pick.randint(0, 99), pick.randint(0, 23), pick.randint(0, 7), 17, files, calls
        )
        function.pcsp, function.pcfile, function.pcline = pick.choices(self.tables, k=3)
        function.pcinline = pick.choice(self.tables)
        function.pcdata = pick.choices(self.tables, k=pick.randint(0, 5))
        function.funcdata = [
            pick.choice([None, *self.data[:20]]) for _ in range(pick.randint(0, 7))
        ]
        if unit in self.assembly and function.funcdata and pick.random() < 0.5:
            undefined = Blob(b"", 0)
            self.made[undefined] = self.maker.symbol("f.args_stackmap", kind=Kind.UNDEFINED)
            function.funcdata[0] = undefined

    def add(self, function: Function, live: bool) -> None:
        made = self.maker.symbol(
            function.name,
            size=function.size,
            kind=Kind.TEXT,
            object=function.object,
            version=ABI_INTERNAL,
            live=live,
        )
        self.made[function] = made
        if function.info:
            content = self.encode(function.info)
            info = self.maker.symbol("", content, object=function.object, live=live)
            made.auxes.append((Aux.FUNCINFO, info.id))
        singles = [(Aux.PCSP, function.pcsp), (Aux.PCFILE, function.pcfile),
                   (Aux.PCLINE, function.pcline), (Aux.PCINLINE, function.pcinline)]  # fmt: skip
        lists = [*singles, *((Aux.PCDATA, b) for b in function.pcdata)]
        made.auxes += [(kind, self.made[blob].id) for kind, blob in lists if blob]
        made.auxes += [(Aux.FUNCDATA, self.made[b].id if b else 0) for b in function.funcdata]
        other = self.maker.symbols[1].id
        made.relocs += [(at, 4, Reloc.CALL, 0, self.deferreturn.id) for at in function.deferreturn]
        made.relocs.append((95, 4, Reloc.CALL, 0, other))

    def encode(self, info: Info) -> bytes:
        content = struct.pack("<IIBBxxI", info.args, 77, info.id, info.flags, info.line)
        content += struct.pack(f"<{1 + len(info.files)}I", len(info.files), *info.files)
        content += struct.pack("<I", len(info.calls))
        for call in info.calls:
            slot = self.made[call.function].id
            content += struct.pack("<iIiIIi", -1, call.file, 5, 0, slot, call.parent_pc)
        return content

    def entries(self) -> list[int]:
        at, entries = 0, []
        for function in self.functions:
            entries.append(at)
            at += -(-max(function.size, 16) // 32) * 32
        return entries

    def link(self, goroot: str = "") -> tuple[PclnTables, tuple[object, ...]]:
        tables = self.maker.finish()
        program, symbols, relocs, auxes, row_of_slot = tables
        text = row_of_slot[[self.made[f].id for f in self.functions]]
        address = np.zeros(len(symbols), np.int64)
        address[text] = TEXT_START + np.array(self.entries())
        made = pclntab.pclntab(
            program,
            symbols,
            auxes,
            relocs,
            text,
            address,
            TEXT_START,
            goroot,  # type: ignore[arg-type]
        )
        return made, tables


def content(tables: PclnTables, name: str) -> bytes:
    """The content of one of the new symbols."""
    (symbol,) = (s for s in tables.symbols if s.name == name)
    return bytes(np.asarray(np.frombuffer(symbol.content, np.uint8)))


@pytest.mark.parametrize("seed", range(12))
def test_tables_equal_those_of_the_plain_twin(seed: int) -> None:
    program = Program(seed)
    plain = Tables(program.functions, program.entries(), program.files, program.assembly)
    fast, _ = program.link()
    for name, want in (
        ("runtime.funcnametab", plain.funcnametab),
        ("runtime.cutab", plain.cutab),
        ("runtime.filetab", plain.filetab),
        ("runtime.pctab", plain.pctab),
        ("go:func.*", plain.funcdata),
        ("runtime.functab", plain.functab),
        ("runtime.findfunctab", plain.findfunctab),
    ):
        assert content(fast, name) == want, name
    header = struct.unpack("<I2xBB8Q", content(fast, "runtime.pcheader"))
    assert header[:6] == (0xFFFFFFF1, 1, 8, len(program.functions), plain.file_count, 0)


@pytest.mark.parametrize("seed", range(4))
def test_relocations_of_funcdata_move_with_it(seed: int) -> None:
    program = Program(seed)
    plain = Tables(program.functions, program.entries(), program.files, program.assembly)
    fast, (made, symbols, relocs, _, row_of_slot) = program.link()
    row = len(symbols) + [s.name for s in fast.symbols].index("go:func.*")
    symbols, relocs = extend(symbols, relocs, made.memory, fast.symbols)
    start, count = int(symbols.reloc_start[row]), int(symbols.reloc_count[row])
    part = slice(start, start + count)
    assert (relocs.owner[part] == row).all()
    assert (relocs.type[part] == Reloc.ADDROFF).all()
    columns = (relocs.offset[part], relocs.addend[part], relocs.target[part])
    got = sorted(zip(*(c.tolist() for c in columns), strict=True))
    assert got == sorted((at, add, int(row_of_slot[t.id])) for at, add, t in plain.relocs)  # type: ignore[attr-defined]
    assert count > 0


def test_sizes_are_multiples_of_eight_and_the_header_points_at_the_tables() -> None:
    fast, _ = Program(3).link()
    position, offset_of = 0, {}
    for symbol in fast.symbols[:-1]:
        size = len(content(fast, symbol.name)) if symbol.size < 0 else symbol.size
        assert size % 8 == 0
        assert size - len(content(fast, symbol.name)) < 8
        position = -(-position // max(symbol.align, 1)) * max(symbol.align, 1)
        offset_of[symbol.name] = position
        position += size
    offsets = struct.unpack_from("<5Q", content(fast, "runtime.pcheader"), 32)
    names = ("funcnametab", "cutab", "filetab", "pctab", "functab")
    assert list(offsets) == [offset_of[f"runtime.{name}"] for name in names]


def test_goroot_is_put_into_file_names() -> None:
    fast, _ = Program(1).link("/usr//local/go/")
    names = content(fast, "runtime.filetab").split(b"\0")
    assert any(name.startswith(b"/usr/local/go/src/file") for name in names)
    assert not any(b"$GOROOT" in name for name in names)


@pytest.mark.parametrize(
    ("name", "goroot", "shown"),
    [
        (b"$GOROOT/src/a.go", "/go", b"/go/src/a.go"),
        (b"$GOROOT/src/../b.go", "/go/", b"/go/b.go"),
        (b"$GOROOT/src/a.go", "", b"$GOROOT/src/a.go"),
        (b"$GOROOTED/a.go", "/go", b"$GOROOTED/a.go"),
        (b"$GOROOT", "/go", b"$GOROOT"),
        (b"gofile../home/a.go", "/go", b"/home/a.go"),
        (b"//twice/a.go", "/go", b"//twice/a.go"),
        (b"$GOROOT/src/..", "/go", b"/go"),
        (b"$GOROOT/src/", "./go", b"go/src"),
        (b"$GOROOT/a.go", "go/..", b"a.go"),
        (b"$GOROOT\\a.go", "/go", b"/go/\\a.go"),
        (b"gofile..a.go", "/go", b"a.go"),
        (b"gofile../a.go", "/go", b"/a.go"),
        (b"", "/go", b""),
    ],
)
def test_file_names_as_the_runtime_shows_them(name: bytes, goroot: str, shown: bytes) -> None:
    assert expand_file(name, goroot) == shown
    assert expand_files([name, name], goroot) == [shown, shown]


@pytest.mark.parametrize("seed", range(30))
def test_findfunctab_equals_the_plain_twin(seed: int) -> None:
    pick = random.Random(seed)
    sizes = [pick.choice([0, 16, 64, 300, 5000]) for _ in range(pick.randint(1, 300))]
    sizes = [size if i % 7 else max(size, 64) for i, size in enumerate(sizes)]
    entry = [1024 + sum(sizes[:i]) for i in range(len(sizes))]
    end = entry[-1] + max(sizes[-1], 1)
    assert bytes(fast_findfunctab(np.array(entry), end)) == findfunctab(entry, end)


def test_too_many_functions_in_a_bucket() -> None:
    with pytest.raises(LinkError, match="too many functions in a findfunc bucket"):
        fast_findfunctab(np.arange(0, 4000, 4), 4000)


def test_a_funcinfo_that_is_cut_short_is_an_error() -> None:
    program = Program(5)
    infos = [s for s in program.maker.symbols if s.kind == Kind.RODATA and not s.name and s.live]
    victim = max(infos, key=lambda s: len(s.content))
    victim.content = victim.content[:-1]
    with pytest.raises(FormatError, match=r"package\d.a.*main.* has a FuncInfo that is cut short"):
        program.link()


@pytest.mark.parametrize("at", [16, 20])
def test_a_funcinfo_with_a_huge_count_is_an_error(at: int) -> None:
    program = Program(6)
    owner = next(f for f in program.functions if f.info and not f.info.files)
    info = program.maker.symbols[program.made[owner].auxes[0][1]]
    info.content = info.content[:at] + b"\xff\xff\xff\xff" + info.content[at + 4 :]
    with pytest.raises(FormatError, match="FuncInfo"):
        program.link()


def test_a_file_that_does_not_exist_is_an_error() -> None:
    program = Program(7)
    owner = next(f for f in program.functions if f.info and f.info.files)
    info = program.maker.symbols[program.made[owner].auxes[0][1]]
    info.content = info.content[:20] + struct.pack("<I", 7) + info.content[24:]
    with pytest.raises(FormatError, match="file does not exist"):
        program.link()


def test_an_inlined_function_without_funcinfo_is_an_error() -> None:
    program = Program(8)
    callers = (f for f in program.functions if f.info and f.info.calls)
    target = next(callers).info.calls[0].function  # type: ignore[union-attr]
    program.made[target].auxes.clear()
    with pytest.raises(FormatError, match=f"{target.name} is inlined but has no FuncInfo"):
        program.link()


def test_funcdata_without_content_is_an_error() -> None:
    program = Program(9)
    owner = next(f for f in program.functions if f.info and f.object == 1 and any(f.funcdata))
    blob = next(b for b in owner.funcdata if b)
    program.made[blob].size = 0
    program.made[blob].content = b""
    with pytest.raises(LinkError, match="data: zero size funcdata"):
        program.link()


def test_a_relocation_that_funcdata_cannot_have_is_an_error() -> None:
    program = Program(2)
    used = {b for f in program.functions if f.info for b in f.funcdata if b}
    blob = next(b for b in used if b.refers)
    at, _, _, addend, target = program.made[blob].relocs[0]
    program.made[blob].relocs[0] = (at, 8, Reloc.ADDR, addend, target)
    with pytest.raises(LinkError, match="unsupported relocation 1 of 8 bytes for funcdata"):
        program.link()


@pytest.mark.parametrize("seed", range(60))
def test_damaged_function_data_gives_an_error_or_a_table(seed: int) -> None:
    program, pick = Program(seed, 15), random.Random(seed)
    infos = [s for s in program.maker.symbols if s.content and not s.name]
    for _ in range(pick.choice([1, 3, 30])):
        victim = pick.choice(infos)
        damaged = bytearray(victim.content)
        damaged[pick.randrange(len(damaged))] = pick.choice([0, 1, 0x7F, 0x80, 0xFF])
        victim.content = bytes(damaged)
    with suppress(PielinkError):
        program.link()
