"""The static C++ library of zig is found, and an object links against it without a name left."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from host_inputs import CACHE, TARGET, ZIG, compile_object, libsystem_stub

from pielink.errors import LinkError, Problems
from pielink.native import diagnose, gather, libraries, libsearch, prepare, select, toolchain
from pielink.native.diagnose import Where
from pielink.native.select import Source

CASES = Path(__file__).parent / "cases" / "host"


@pytest.mark.slow  # zig builds libc++ when it is asked for the first time
def test_a_cxx_program_links_against_zigs_archives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", str(CACHE / "zig"))
    monkeypatch.setenv("ZIG_LOCAL_CACHE_DIR", str(CACHE / "zig"))
    archives = toolchain.cxx_archives([*ZIG, "c++", *TARGET])
    assert [path.name for path in archives] == ["libc++.a", "libc++abi.a"]
    path = CASES / "exceptions.cc"
    made = compile_object(path.read_text(), path.suffix, "-O2")
    sources = [Source(each.name, each.read_bytes()) for each in (made, *archives)]
    problems = Problems()
    host = gather.gather(select.load_objects(sources, [b"_main"]))
    found = prepare.keep(prepare.analyse(host, problems), [b"_main"])
    libsystem = libraries.read_file(libsystem_stub())
    linked = libraries.link([libsystem], libsearch.search_paths(), 13 << 16)
    where = np.zeros(len(found.names), np.uint8)
    for name, row in found.names.row.items():
        here = name == b"___dso_handle"
        where[row] = Where.IMAGE if here else Where.IMPORT if linked.find(name) else Where.NOWHERE
    diagnose.report(found, where, problems)
    assert not list(problems)
    assert len(found.unwind_entries) > 500


def script(tmp_path: Path, text: str) -> str:
    made = tmp_path / "compiler"
    made.write_text(f"#!/bin/sh\n{text}\n")
    made.chmod(0o755)
    return str(made)


def test_a_compiler_without_archives_of_its_own(tmp_path: Path) -> None:
    assert toolchain.cxx_archives([script(tmp_path, "echo /nowhere/libc++.a >&2")]) == []


def test_a_compiler_that_cannot_be_run(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="nosuch: cannot run the C\\+\\+ compiler: No such file"):
        toolchain.cxx_archives([str(tmp_path / "nosuch")])
    broken = script(tmp_path, "echo 'x.cc: error: no header' >&2; exit 1")
    with pytest.raises(LinkError, match=r"the C\+\+ compiler fails: x\.cc: error: no header"):
        toolchain.cxx_archives([broken])
    assert os.access(broken, os.X_OK)
