"""Commons, aliases, thread-locals, image info, function starts, data in code, archive members."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import lief
import numpy as np
import pytest
from host_inputs import archive as make_archive
from host_inputs import compile_object, link, lld
from host_writer import N_EXT, N_SECT, Section, Symbol, address_sections, write
from invalid.host_objects import with_alias

from pielink.errors import FormatError, Problems
from pielink.formats import machobj
from pielink.native import codetables, gather, objc, prepare, select, tlv
from pielink.native.prepare import Prepared
from pielink.native.select import Source
from pielink.native.tables import NONE, NameKind


def prepared(*objects: bytes, roots: tuple[bytes, ...] = ()) -> Prepared:
    problems = Problems()
    files = [machobj.read(data, f"{number}.o") for number, data in enumerate(objects)]
    found = prepare.keep(prepare.analyse(gather.gather(files), problems), roots)
    problems.raise_if_any()
    return found


def assembled(source: str) -> bytes:
    return compile_object(source, ".s").read_bytes()


def test_the_largest_common_symbol_wins_and_a_definition_beats_it() -> None:
    small = assembled(".comm _a,4,2\n.comm _b,64,4\n")
    large = assembled(".comm _a,400,5\n.data\n.globl _b\n_b: .quad 7\n.subsections_via_symbols\n")
    found = prepared(small, large, roots=(b"_a", b"_b"))
    names, atoms = found.names, found.atoms
    first, second = names.row[b"_a"], names.row[b"_b"]
    atom = int(names.atom[first])
    assert names.kind[first] == NameKind.COMMON
    assert (int(atoms.size[atom]), int(atoms.align[atom])) == (400, 5)
    assert found.host.title(int(atoms.section[atom])) == "__DATA,__common"
    assert found.live[atom]
    assert names.kind[second] == NameKind.DEFINED
    assert found.host.file_name(int(atoms.section[names.atom[second]])) == "1.o"


def test_commons_do_not_overlap() -> None:
    source = "".join(f".comm _c{n},{n + 1},{n % 5}\n" for n in range(20))
    found = prepared(assembled(source), roots=tuple(b"_c%d" % n for n in range(20)))
    rows = np.flatnonzero(found.live)
    start, size = found.atoms.offset[rows], found.atoms.size[rows]
    assert (start[1:] >= (start + size)[:-1]).all()
    assert (start % (1 << found.atoms.align[rows].astype(np.int64)) == 0).all()


def test_an_alias_is_what_it_stands_for() -> None:
    target = assembled(".data\n.globl _target\n_target: .quad 1\n.subsections_via_symbols\n")
    found = prepared(with_alias(b"_alias", b"_target"), target, roots=(b"_alias",))
    names = found.names
    alias, row = names.row[b"_alias"], names.row[b"_target"]
    assert names.alias[alias] == row
    assert names.atom[alias] == names.atom[row] != NONE
    assert found.live[names.atom[row]]


def test_aliases_of_aliases_and_of_imports() -> None:
    found = prepared(with_alias(b"_a", b"_b"), with_alias(b"_b", b"_c"))
    names = found.names
    assert names.alias[names.row[b"_a"]] == names.row[b"_c"]
    assert names.kind[names.row[b"_a"]] == NameKind.UNDEFINED
    problems = Problems()
    files = [machobj.read(with_alias(*pair), "x.o") for pair in ((b"_a", b"_b"), (b"_b", b"_a"))]
    prepare.keep(prepare.analyse(gather.gather(files), problems), ())
    assert {str(each) for each in problems} == {
        "_a: is an alias of itself",
        "_b: is an alias of itself",
    }


THREADS = """
__thread int one = 1; __thread char two = 2; __thread long three[5];
__thread int four __attribute__((aligned(64)));
int *get(int n) { return n ? &one : &four; }
long sum(void) { return two + three[0]; }
"""


def test_the_thread_local_template() -> None:
    data = compile_object(THREADS, ".c", "-O1").read_bytes()
    found = prepared(data, roots=(b"_get", b"_sum"))
    host, atoms = found.host, found.atoms
    template = np.flatnonzero(tlv.in_template(host, atoms) & found.live)
    assert len(template) == 4
    kind = host.sections.flags[atoms.section] & 0xFF
    firsts = [template[kind[template] == each][0] for each in (0x11, 0x12)]
    assert [int(atoms.align[row]) for row in firsts] == [6, 6]
    assert (atoms.align[kind == 0x13] >= 3).all()


def image_info(flags: int) -> bytes:
    sections = [Section("__DATA", "__objc_imageinfo", struct.pack("<II", 0, flags))]
    address_sections(sections)
    return write(sections, [])


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((0x40, 0x40), 0x40),
        ((0x40, 0), 0),
        ((0x50, 0x10), 0x10),
        ((0x0740, 0x40), 0x0740),
        ((0x05060740, 0x05030740), 0x05030740),
    ],
)
def test_image_info_is_merged(flags: tuple[int, ...], expected: int) -> None:
    found = prepared(*map(image_info, flags))
    assert struct.unpack("<II", found.image_info) == (0, expected)


def test_image_info_of_two_swift_versions_is_an_error() -> None:
    problems = Problems()
    files = [machobj.read(image_info(flags), f"{flags}.o") for flags in (0x500, 0x700)]
    prepare.keep(prepare.analyse(gather.gather(files), problems), ())
    assert [str(each) for each in problems] == ["1792.o: is compiled for Swift ABI 7, 1280.o 5"]
    assert prepared(assembled(".data\n.quad 1\n")).image_info == b""
    assert objc.SIZE == 8


def test_function_starts() -> None:
    rng = random.Random(3)
    starts = np.array(sorted(rng.sample(range(0x400, 1 << 20), 200)))
    data = codetables.function_starts(np.append(starts, starts[:5]) + 0x1000, 0x1000)
    place = np.frombuffer(data, np.uint8)
    found, at, value, shift = [], 0, 0, 0
    for byte in place.tolist():
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            at, value, shift = at + value, 0, 0
            found.append(at)
    assert found == [*starts.tolist(), int(starts[-1])]  # the 0 that ends the list adds nothing
    assert codetables.function_starts(starts[:0], 0) == b""


@pytest.mark.skipif(not lld(), reason="ld64.lld is not installed")
def test_function_starts_are_what_lief_reads(tmp_path: Path) -> None:
    linker = lld()
    assert linker
    program = link(linker, compile_object("int f(void) { return 0; } int main(void) { return 0; }"))
    fat = lief.MachO.parse(str(program))
    assert fat is not None
    command = fat.at(0).function_starts
    assert command.data_size >= 4
    image = bytearray(program.read_bytes())
    short = codetables.function_starts(np.array([0x1_0000_0500, 0x1_0000_0510]), 0x1_0000_0000)
    size = command.data_size
    image[command.data_offset : command.data_offset + size] = short.ljust(size, b"\0")[:size]
    (tmp_path / "copy").write_bytes(image)
    again = lief.MachO.parse(str(tmp_path / "copy"))
    assert again is not None
    assert list(again.at(0).function_starts.functions) == [0x500, 0x510]


CODE_WITH_DATA = """
.globl _dropped
_dropped: ret
.data_region
.quad 1
.end_data_region
.globl _f
_f: nop
.data_region jt32
.long 1, 2
.end_data_region
ret
.subsections_via_symbols
"""


def test_data_in_code_moves_with_its_function() -> None:
    found = prepared(assembled(CODE_WITH_DATA), roots=(b"_f",))
    address = np.zeros(len(found.atoms), np.int64)
    address[found.names.atom[found.names.row[b"_f"]]] = 0x5000
    rows = codetables.data_in_code(found.host, found.atoms, address, found.live, 0x1000)
    assert rows.tolist() == [(0x4001, 8, 4)]


def test_data_in_code_outside_sections_is_refused() -> None:
    data = bytearray(assembled(CODE_WITH_DATA))
    file = machobj.read(bytes(data), "bad.o")
    entry = int(file.data_in_code["offset"][1])
    place = bytes(data).rindex(struct.pack("<IHH", entry, 8, 4))
    struct.pack_into("<I", data, place, 1 << 20)
    found = prepared(bytes(data), roots=(b"_f",))
    address = np.zeros(len(found.atoms), np.int64)
    with pytest.raises(FormatError, match=r"0\.o: data in code at 0x100000 lies in no section"):
        codetables.data_in_code(found.host, found.atoms, address, found.live, 0)


def defines(name: str, needs: str = "", section: str = "") -> Path:
    source = f".text\n.globl {name}\n{name}: {f'callq {needs}' if needs else 'ret'}\n"
    source += f".section __DATA,{section}\n.quad 1\n" if section else ""
    return compile_object(source, ".s")


def loaded(*sources: Source, wanted: tuple[bytes, ...] = (), **options: object) -> list[str]:
    return [file.name for file in select.load_objects(sources, wanted, **options)]  # type: ignore[arg-type]


@pytest.mark.parametrize("index", [True, False], ids=["indexed", "plain"])
def test_members_are_taken_when_needed(index: bool) -> None:
    members = [defines("_a", "_b"), defines("_b", "_a"), defines("_c"), defines("_b")]
    names = ("a.o", "b.o", "c.o", "b2.o")
    library = make_archive("bsd", *members, names=names, index=index).read_bytes()
    source = Source("lib.a", library)
    assert loaded(source) == []
    assert loaded(source, wanted=(b"_c",)) == ["lib.a(c.o)"]
    assert loaded(source, wanted=(b"_b",)) == ["lib.a(a.o)", "lib.a(b.o)"]
    forced = source._replace(force_load=True)
    assert loaded(forced) == [f"lib.a({name})" for name in names]
    main = Source("main.o", defines("_main", "_c").read_bytes())
    assert loaded(source, main) == ["lib.a(c.o)", "main.o"]
    assert loaded(main, source, source) == ["main.o", "lib.a(c.o)"]


def test_what_is_defined_elsewhere_takes_no_member() -> None:
    library = make_archive("gnu", defines("_a"), names=("a.o",)).read_bytes()
    source = Source("lib.a", library)
    own = Source("own.o", defines("_a").read_bytes())
    assert loaded(own, source, wanted=(b"_a",)) == ["own.o"]
    names = {b"_a"}
    assert loaded(source, wanted=(b"_a",), defined_elsewhere=names.__contains__) == []


def test_members_with_classes_are_taken_for_objc() -> None:
    members = [defines("_a"), defines("_b", section="__objc_catlist")]
    library = make_archive("bsd", *members, names=("a.o", "b.o")).read_bytes()
    assert loaded(Source("lib.a", library)) == []
    assert loaded(Source("lib.a", library), objc=True) == ["lib.a(b.o)"]


def test_an_archive_inside_a_fat_file() -> None:
    library = make_archive("bsd", defines("_a"), names=("a.o",)).read_bytes()
    head = struct.pack(">7I", 0xCAFEBABE, 1, 0x01000007, 3, 28, len(library), 0)
    assert loaded(Source("fat.a", head + library), wanted=(b"_a",)) == ["fat.a(a.o)"]


def test_private_and_weak_names() -> None:
    hidden = ".globl _f\n.private_extern _f\n.weak_definition _f\n_f: ret\n"
    shown = ".globl _f\n.weak_definition _f\n_f: ret\n"
    one = prepared(assembled(hidden), assembled(hidden)).names
    both = prepared(assembled(hidden), assembled(shown)).names
    assert (bool(one.private[0]), bool(both.private[0])) == (True, False)
    assert one.weak_definition[0]


def test_a_symbol_in_a_merged_literal_still_has_its_place() -> None:
    sections = [Section("__TEXT", "__cstring", b"same\0same\0", 2)]
    address_sections(sections)
    symbols = [Symbol("_first", N_SECT | N_EXT, 1), Symbol("_second", N_SECT | N_EXT, 1, value=5)]
    found = prepared(write(sections, symbols), roots=(b"_second",))
    assert found.names.atom.tolist() == [0, 0]
    assert found.live.tolist() == [True, False, *found.live.tolist()[2:]]
