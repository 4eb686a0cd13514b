"""Libraries that objects ask for themselves (LC_LINKER_OPTION), as those of modules do."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import host_inputs
import pytest
from host_inputs import archive, compile_object
from host_program import HostProgram, host_program, parsed

from pielink.check import check

STUB = """--- !tapi-tbd
tbd-version: 4
targets: [ x86_64-macos ]
install-name: '/opt/lib/lib{name}.1.dylib'
exports:
  - targets: [ x86_64-macos ]
    symbols: [ _{name} ]
...
"""
CODE = r"""
__asm__(".linker_option \"-lwanted\"");
__asm__(".linker_option \"-lunused\"");
__asm__(".linker_option \"-lmissing\"");
__asm__(".linker_option \"-lpacked\"");
int wanted(void), packed(void);
__attribute__((constructor)) static void start(void) { wanted(); } // not for Go's own linker
int run(void) { return wanted() + packed(); }
"""
PACKED = r"""
__asm__(".linker_option \"-lfurther\"");
int further(void);
int packed(void) { return further(); }
"""
OTHERS = """
.linker_option "-framework", "Foundation"
.linker_option "-some-flag-of-another-linker"
.globl _others
_others: ret
"""


@pytest.fixture
def go(tmp_path: Path) -> HostProgram:
    return host_program(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("wanted", "unused", "further"):
        (tmp_path / f"lib{name}.tbd").write_text(STUB.format(name=name))
    shutil.copy(archive("darwin", compile_object(PACKED)), tmp_path / "libpacked.a")
    return tmp_path


def dylibs(binary: Any) -> list[str]:
    return [str(library.name) for library in binary.libraries]


def test_what_objects_ask_for_is_linked_if_it_is_needed(go: HostProgram, folder: Path) -> None:
    made = compile_object(CODE)
    program = go.link(made, ldflags=(f"-L{folder}", "-Wl,-u,_run"))
    assert check(program, "26.0") == []
    ours = parsed(program)
    found = {str(b.symbol.name): str(b.library.name) for b in ours.bindings if b.has_library}
    assert found["_wanted"] == "/opt/lib/libwanted.1.dylib"
    assert found["_further"] == "/opt/lib/libfurther.1.dylib"  # asked for by a member of an archive
    assert "/opt/lib/libunused.1.dylib" not in dylibs(ours)
    linker = host_inputs.lld()
    if linker is None:
        pytest.skip("ld64.lld is not installed (Debian package lld-19)")
    flags = (f"-L{folder}", "-dylib", "-no_fixup_chains")
    theirs = parsed(host_inputs.link(linker, made, flags=flags))
    assert set(dylibs(theirs)) - {"out"} <= set(dylibs(ours))  # "out" is its own name


def test_a_library_without_a_stub_is_loaded(go: HostProgram) -> None:
    program = go.link(compile_object(OTHERS, ".s"), ldflags=("-Wl,-u,_others",))
    foundation = [name for name in dylibs(parsed(program)) if "Foundation" in name]
    assert foundation == ["/System/Library/Frameworks/Foundation.framework/Versions/C/Foundation"]
