"""What dyld is told, on whole programs: lazy stubs, chains, exports, and many dylibs."""

from __future__ import annotations

from pathlib import Path

import lief
import pytest
from go_inputs import go_inputs
from test_build import pielink

from pielink.arch import amd64
from pielink.check import check_bytes
from pielink.errors import LinkError, UsageError
from pielink.inspect import MachOFile, read_macho

LIBSYSTEM = amd64.LIBSYSTEM
BindSet = set[tuple[int, str, str]]


def linked(tmp_path: Path, *flags: str, program: str = "hello") -> Path:
    """The program, linked with -verify and these flags."""
    out = tmp_path / "linked"
    return go_inputs(program).link_with_pielink(("-verify", *flags), out)


def binds(path: Path) -> BindSet:
    """(address, symbol, library) of every bind, as LIEF reads them."""
    image = lief.MachO.parse(str(path)).at(0)
    return {(b.address, b.symbol.name, b.library.name) for b in image.bindings}


def section(path: Path, name: str) -> lief.MachO.Section:
    image = lief.MachO.parse(str(path)).at(0)
    return image.get_section(name)


def output(path: Path, *flags: str) -> str:
    """What the program prints under the emulator."""
    done = pielink("run", *flags, str(path))
    assert done.returncode == 0, done.stderr
    return done.stdout


def clean(path: Path) -> bool:
    """Does `pielink check` find nothing wrong?"""
    return not check_bytes(path.read_bytes(), str(path), sdk="26.0")


def test_lazy_stubs_leave_the_helper_and_the_got_as_dyld_wants_them(tmp_path: Path) -> None:
    path = linked(tmp_path, "-bind=lazy")
    now = go_inputs("hello").reference()
    pointers, got = section(path, "__la_symbol_ptr"), section(path, "__got")
    names = {(symbol, library) for _, symbol, library in binds(now)}
    assert {(symbol, library) for _, symbol, library in binds(path)} == names | {
        ("dyld_stub_binder", LIBSYSTEM)
    }
    lazy = {address for address, symbol, _ in binds(path) if symbol != "dyld_stub_binder"}
    assert lazy == set(range(pointers.virtual_address, pointers.virtual_address + pointers.size, 8))
    assert (got.size, got.reserved1) == (8, len(names))
    assert pointers.reserved1 == len(names) + 1
    assert clean(path)


def test_each_lazy_pointer_leads_to_its_helper_entry_and_is_rebased(tmp_path: Path) -> None:
    file = read_macho(linked(tmp_path, "-bind=lazy"))
    row = file.section_names.index("__DATA,__la_symbol_ptr")
    helper = file.section_names.index("__TEXT,__stub_helper")
    start, code = int(file.sections["addr"][helper]), file.section_bytes(helper)
    rebased = dict(
        zip(file.rebases["address"].tolist(), file.rebases["target"].tolist(), strict=True)
    )
    lazy = file.bind_rows("lazy_bind")
    for i in range(int(file.sections["size"][row]) // 8):
        pointer = int(file.sections["addr"][row]) + 8 * i
        at = rebased[pointer] - start
        assert at == 16 + 10 * i
        assert (code[at], code[at + 5]) == (0x68, 0xE9)
        jump = int.from_bytes(code[at + 6 : at + 10], "little", signed=True)
        assert at + 10 + jump == 0
        stream = int.from_bytes(code[at + 1 : at + 5], "little")
        opcodes = file.info_stream("lazy_bind")[stream:]
        name = lazy.names[lazy.rows["name"][i]]
        assert opcodes.index(name + b"\0") < 8


@pytest.mark.parametrize("when", ["now", "lazy"])
def test_a_program_with_lazy_stubs_runs(tmp_path: Path, when: str) -> None:
    path = linked(tmp_path, "-bind=lazy")
    assert output(path, "--bind", when) == "Hello from Go on darwin/amd64\n"


@pytest.mark.parametrize("program", ["hello", "kitchen-sink"])
def test_chains_hold_the_fixups_of_the_opcodes(tmp_path: Path, program: str) -> None:
    opcodes = read_macho(linked(tmp_path, program=program))
    chains = read_macho(linked(tmp_path, "-dyldinfo=chained", program=program))
    for field in ("address", "target"):
        assert (opcodes.rebases[field] == chains.rebases[field]).all()
    assert bind_rows(opcodes) == bind_rows(chains)


def bind_rows(file: MachOFile) -> list[tuple[int, bytes, int, int]]:
    """(address, name, ordinal, addend) of each bind."""
    rows = file.binds.rows
    names = [file.binds.names[i] for i in rows["name"]]
    columns = (rows["address"].tolist(), names, rows["ordinal"].tolist(), rows["addend"].tolist())
    return sorted(zip(*columns, strict=True))


def test_a_chained_program_runs_and_keeps_the_rules(tmp_path: Path) -> None:
    path = linked(tmp_path, "-dyldinfo=chained", "-export-dynamic")
    assert clean(path)
    assert output(path) == "Hello from Go on darwin/amd64\n"


def test_only_pies_can_have_chains_or_lazy_stubs(tmp_path: Path) -> None:
    for flag in ("-dyldinfo=chained", "-bind=lazy"):
        with pytest.raises(UsageError, match=f"{flag} needs -buildmode=pie"):
            linked(tmp_path, flag, "-buildmode=exe")
    with pytest.raises(UsageError, match="binds at load"):
        linked(tmp_path, "-dyldinfo=chained", "-bind=lazy")


def trie(path: Path) -> dict[str, int]:
    """Exported name -> address from the mach header, as LIEF reads the trie."""
    image = lief.MachO.parse(str(path)).at(0)
    source = image.dyld_info if image.has_dyld_info else image.dyld_exports_trie
    return {export.symbol.name: export.address for export in source.exports}


@pytest.mark.parametrize("form", ["opcodes", "chained"])
def test_named_symbols_are_exported_and_stay_in_the_program(tmp_path: Path, form: str) -> None:
    names = ("main.main", "runtime.memmove", "strconv.quoteWith")
    flags = [f"-exported-symbol={name}" for name in names]
    path = linked(tmp_path, f"-dyldinfo={form}", *flags)
    file = read_macho(path)
    kinds = dict(zip(file.symbol_names, file.symbols["n_type"].tolist(), strict=True))
    values = dict(zip(file.symbol_names, file.symbols["n_value"].tolist(), strict=True))
    assert trie(path) == {f"_{n}": values[b"_" + n.encode()] - file.base for n in names}
    assert all(kinds[b"_" + n.encode()] == 0x0F for n in names)
    assert b"_strconv.quoteWith" not in read_macho(go_inputs("hello").reference()).symbol_names
    assert clean(path)


def test_export_dynamic_exports_every_global_symbol(tmp_path: Path) -> None:
    path = linked(tmp_path, "-export-dynamic")
    exported = trie(path)
    assert {"_main.main", "_runtime.memmove", "_os.Args"} <= set(exported)
    assert len(exported) > 2000
    assert clean(path)


def test_a_name_that_nobody_defines_cannot_be_exported(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="-exported-symbol: the program defines no such symbol"):
        linked(tmp_path, "-exported-symbol=main.nope")
    assert not list(tmp_path.iterdir())


DLSYM_GO = """package main

import "reflect"

//go:cgo_import_dynamic libc_dlsym dlsym "/usr/lib/libSystem.B.dylib"

func dlsym(handle uintptr, name *byte) uintptr

func answer() int { return 42 }

func main() {
	const everywhere = ^uintptr(1) // RTLD_DEFAULT, (void *)-2
	name, missing := []byte("main.answer\\x00"), []byte("main.main\\x00")
	println(dlsym(everywhere, &name[0]) == reflect.ValueOf(answer).Pointer())
	println(dlsym(everywhere, &missing[0]))
}
"""
# The C function gets its arguments in registers and an aligned stack; BX survives the call.
DLSYM_CODE = """TEXT ·dlsym(SB), 4, $32-24
	MOVQ handle+0(FP), DI
	MOVQ name+8(FP), SI
	MOVQ SP, BX
	ANDQ $~15, SP
	CALL libc_dlsym(SB)
	MOVQ BX, SP
	MOVQ AX, ret+16(FP)
	RET
"""


@pytest.mark.parametrize("flag", ["-dyldinfo=opcodes", "-dyldinfo=chained"])
def test_dlsym_finds_what_the_program_exports_and_nothing_else(tmp_path: Path, flag: str) -> None:
    (tmp_path / "main.go").write_text(DLSYM_GO)
    (tmp_path / "dlsym_amd64.s").write_text(DLSYM_CODE)
    (tmp_path / "go.mod").write_text("module dlsym\n\ngo 1.26\n")
    path, ldflags = tmp_path / "linked", f"-ldflags=-w {flag} -exported-symbol main.answer"
    done = pielink("build", "-C", str(tmp_path), ldflags, "-o", str(path), ".")
    assert done.returncode == 0, done.stderr
    done = pielink("run", str(path))
    assert done.stderr == "true\n0\n"


DYLIBS = 40


@pytest.fixture(scope="module")
def many_dylibs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program with functions of 40 dylibs; its argument is the number of the one to call."""
    folder = tmp_path_factory.mktemp("dylibs")
    numbers = range(DYLIBS)
    lines = [
        *("package main", "", 'import ("fmt"; "os"; "strconv")', ""),
        *(f'//go:cgo_import_dynamic lib_f{i} f{i} "/usr/lib/libpart{i}.dylib"' for i in numbers),
        *("", *(f"func call{i}()" for i in numbers), ""),
        "var calls = []func(){" + ", ".join(f"call{i}" for i in numbers) + "}",
        *("", "func main() {", '\tfmt.Println("started")', "\tif len(os.Args) > 1 {"),
        *("\t\ti, _ := strconv.Atoi(os.Args[1])", "\t\tcalls[i]()", "\t}", "}", ""),
    ]
    (folder / "main.go").write_text("\n".join(lines))
    code = [f"TEXT ·call{i}(SB), 4, $0-0\n\tCALL lib_f{i}(SB)\n\tRET\n" for i in numbers]
    (folder / "calls_amd64.s").write_text("\n".join(code))
    (folder / "go.mod").write_text("module dylibs\n\ngo 1.26\n")
    return folder


@pytest.mark.parametrize("flags", ["", "-bind=lazy", "-dyldinfo=chained"])
def test_forty_dylibs_bind_through_the_right_ordinals(many_dylibs: Path, flags: str) -> None:
    path = many_dylibs / f"linked{flags}"
    ldflags = f"-ldflags=-w -verify {flags}"
    done = pielink("build", "-C", str(many_dylibs), ldflags, "-o", str(path), ".")
    assert done.returncode == 0, done.stderr
    libraries = {symbol: library for _, symbol, library in binds(path)}
    for i in range(DYLIBS):
        assert libraries[f"_f{i}"] == f"/usr/lib/libpart{i}.dylib"
    assert libraries["_read"] == LIBSYSTEM
    assert clean(path)
    for number in (0, 14, 15, 16, 39):
        done = pielink("run", str(path), str(number))
        assert done.stdout == "started\n"
        assert f"f{number} (/usr/lib/libpart{number}.dylib) is not implemented" in done.stderr
