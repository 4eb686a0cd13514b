"""What dyld does before a program runs: every form of fixup, ordinals, weak, flat and lazy look-up.

The programs are linked by ld64.lld, which knows all forms; its libraries export more at run time
than at link time, so that a bind through a wrong ordinal gives a wrong number.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from chained_program import chained
from emulator_programs import CASES, c_object, c_program, libsystem_stub, pielink_run

from pielink.emulator import LoadError, run

LLD = shutil.which("ld64.lld") or shutil.which("ld64.lld-19")
needs_lld = pytest.mark.skipif(LLD is None, reason="ld64.lld is not installed")
FORMS = {"opcodes": ["-no_fixup_chains"], "chained": ["-fixup_chains"]}
COUNT = 40
MAGIC = 0x5EED1234


def lld(out: Path, *arguments: str | Path) -> Path:
    """Link for macOS 13 on x86_64."""
    assert LLD is not None
    root = out.parent / "sysroot"
    stub = libsystem_stub(root, "printf puts strrchr dlopen dlsym dladdr dlerror")
    command = [LLD, "-arch", "x86_64", "-platform_version", "macos", "13.0", "13.0"]
    command += ["-syslibroot", str(root), "-o", str(out), *map(str, arguments), str(stub)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


def library_object(directory: Path, number: int) -> Path:
    """An object that defines v0..v39 with `number` in their results."""
    data = c_object("run_libraries/library.c").read_bytes()
    magic = MAGIC.to_bytes(4, "little")
    assert data.count(magic) == 1
    out = directory / f"library{number}.o"
    out.write_bytes(data.replace(magic, number.to_bytes(4, "little")))
    return out


def forty_libraries(directory: Path) -> list[Path]:
    """Libraries that export one function each at link time, and all of them at run time."""
    at_link_time = []
    (directory / "link").mkdir()
    for number in range(COUNT):
        source = library_object(directory, number)
        name = f"lib{number}.dylib"
        common = ["-dylib", "-install_name", f"@executable_path/{name}", source]
        narrow = ["-exported_symbol", f"_v{number}"]
        at_link_time.append(lld(directory / "link" / name, *common, *narrow))
        lld(directory / name, *common)
    return at_link_time


@needs_lld
@pytest.mark.parametrize("form", FORMS)
def test_forty_libraries_bind_through_the_right_ordinals(form: str, tmp_path: Path) -> None:
    libraries = forty_libraries(tmp_path)
    main = c_object("run_libraries/main.c")
    program = lld(tmp_path / "program", main, *libraries, *FORMS[form])
    ran = pielink_run(program)
    expected = "".join(f"v{i} {1000 * i + i}\n" for i in range(COUNT))
    assert (ran.status, ran.out, ran.err) == (0, expected, "")


@needs_lld
@pytest.mark.parametrize("form", FORMS)
def test_flat_look_up_takes_the_first_library_that_has_the_symbol(
    form: str, tmp_path: Path
) -> None:
    libraries = forty_libraries(tmp_path)
    main = c_object("run_libraries/main.c")
    program = lld(tmp_path / "program", main, *libraries, "-flat_namespace", *FORMS[form])
    assert pielink_run(program).out == "".join(f"v{i} {i}\n" for i in range(COUNT))


@needs_lld
@pytest.mark.parametrize("form", FORMS)
def test_weak_definitions_coalesce_and_weak_imports_may_be_missing(
    form: str, tmp_path: Path
) -> None:
    library, main = c_object("run_weak/library.c"), c_object("run_weak/main.c")
    options = ["-dylib", "-install_name", "@executable_path/libweak.dylib", *FORMS[form]]
    full = lld(tmp_path / "full.dylib", library, *options)
    program = lld(tmp_path / "program", main, full, *FORMS[form])
    hidden = [*options, "-unexported_symbol", "_optional"]
    lld(tmp_path / "libweak.dylib", library, *hidden)
    assert pielink_run(program).out == "which main main\noptional absent\n"
    lld(tmp_path / "libweak.dylib", library, *options)
    assert pielink_run(program).out == "which main main\noptional 7\n"


@needs_lld
def test_a_missing_symbol_fails_at_load_and_names_the_library(tmp_path: Path) -> None:
    library, main = c_object("run_weak/library.c"), c_object("run_weak/main.c")
    options = ["-dylib", "-install_name", "@executable_path/libweak.dylib"]
    full = lld(tmp_path / "full.dylib", library, *options)
    program = lld(tmp_path / "program", main, full)
    lld(tmp_path / "libweak.dylib", library, *options, "-unexported_symbol", "_needed")
    with pytest.raises(LoadError, match=r"Symbol not found: _needed\n(.|\n)*libweak\.dylib"):
        run(program)
    (tmp_path / "libweak.dylib").unlink()
    with pytest.raises(LoadError, match=r"Library not loaded: .*libweak\.dylib"):
        run(program)


@pytest.mark.parametrize("bind", ["now", "lazy"])
def test_stubs_bind_at_load_or_at_the_first_call(bind: str) -> None:
    ran = pielink_run(c_program("run_start"), options=["--bind", bind, "--stats"])
    assert ran.status == 3
    assert ran.out.endswith("destructor\n")
    assert ("dyld_stub_binder" in ran.err) == (bind == "lazy")


def test_chained_fixups_written_without_any_codec_of_pielink(tmp_path: Path) -> None:
    program = c_program("run_start")
    same = tmp_path / "chained"
    same.write_bytes(chained(program))
    plain, again = pielink_run(program), pielink_run(same)
    assert (again.status, again.out) == (plain.status, plain.out)
    assert again.err == ""


def dlfcn_by_zig(directory: Path) -> Path:
    return c_program("run_dlfcn", "-rdynamic")


def dlfcn_by_lld(directory: Path) -> Path:
    return lld(directory / "program", c_object("run_dlfcn/main.c"), "-export_dynamic")


@pytest.mark.parametrize("link", [dlfcn_by_zig, pytest.param(dlfcn_by_lld, marks=needs_lld)])
def test_dlsym_and_dladdr_answer_from_the_export_trie(
    link: Callable[[Path], Path], tmp_path: Path
) -> None:
    ran = pielink_run(link(tmp_path))
    expected = (CASES / "run_dlfcn" / "expected").read_text()
    assert (ran.status, ran.out, ran.err) == (0, expected, "")


@needs_lld
def test_dlopen_loads_a_library_and_runs_its_initializers(tmp_path: Path) -> None:
    common = ["-dylib", "-install_name", "@rpath/libplug.dylib"]
    lld(tmp_path / "libplug.dylib", c_object("run_dlopen/plug.c"), *common)
    main = c_object("run_dlopen/main.c")
    program = lld(tmp_path / "program", main, "-rpath", "@executable_path")
    ran = pielink_run(program)
    assert (ran.status, ran.out) == (0, "plug loaded\nplug 42\nno such symbol\nno such file\n")
