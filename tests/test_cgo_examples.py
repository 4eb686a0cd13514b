"""The cgo examples, linked by pielink alone, print in the emulator what they print natively."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import lief
import pytest
from example_sources import fetch_sources
from go_inputs import CACHE, EXAMPLES, go_environment, goroot, locked

from pielink.check import check

FOUNDATION = "/System/Library/Frameworks/Foundation.framework/Versions/C/Foundation"


def command(argv: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(argv, cwd=EXAMPLES, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@functools.cache
def linked(name: str) -> Path:
    """Build an example for macOS with pielink."""
    fetch_sources(name)
    path = CACHE / "cgo" / f"{name}.macos"
    with locked(path):
        argv = [sys.executable, "-m", "pielink", "build", "-ldflags=-w", "-o", str(path)]
        command([*argv, f"./{name}"], go_environment(cgo=True))
    return path


@functools.cache
def native(name: str) -> Path:
    """Build the same example for this machine."""
    fetch_sources(name)
    path = CACHE / "cgo" / f"{name}.native"
    environment = go_environment(cgo=True)
    del environment["GOOS"], environment["GOARCH"]
    compilers = (("CC", "cc", "cc"), ("CXX", "c++", "c++"))
    for variable, compiler, driver in compilers:
        zig = f"{sys.executable} -m ziglang {driver}"
        environment[variable] = shutil.which(compiler) or zig
    with locked(path):
        go = str(goroot() / "bin" / "go")
        command([go, "build", "-buildvcs=false", "-o", str(path), f"./{name}"], environment)
    return path


def run(argv: list[str]) -> tuple[int, str, str]:
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=300, env=os.environ | {"LC_ALL": "C"}
    )
    return done.returncode, done.stdout, done.stderr


PROGRAMS = (
    ("cgo-callbacks", ("one", "two")),
    ("cgo-lua", ()),
    pytest.param("cgo-zstd", (), marks=pytest.mark.slow),
    pytest.param("cgo-cxx", (), marks=pytest.mark.slow),  # zig builds libc++ first
)


@pytest.mark.parametrize(("name", "arguments"), PROGRAMS)
def test_the_output_is_that_of_the_native_build(name: str, arguments: tuple[str, ...]) -> None:
    emulator = [sys.executable, "-m", "pielink", "run", "--seed", "5", str(linked(name))]
    assert run([*emulator, *arguments]) == run([str(native(name)), *arguments])


@pytest.mark.parametrize(
    "name",
    [
        *("cgo-callbacks", "cgo-lua", "cgo-zstd", "cgo-objc"),
        pytest.param("cgo-cxx", marks=pytest.mark.slow),
    ],
)
def test_the_file_keeps_the_rules_of_dyld(name: str) -> None:
    assert check(linked(name)) == []


def test_objective_c_metadata_keeps_its_sections_and_flags() -> None:
    fat = lief.MachO.parse(str(linked("cgo-objc")))
    assert fat is not None
    binary = fat.at(0)
    sections = {section.name: section for section in binary.sections}
    wanted = (
        "__objc_classlist",
        "__objc_catlist",
        "__objc_selrefs",
        "__objc_imageinfo",
        "__cfstring",
    )
    assert set(wanted) <= set(sections)
    for name in ("__objc_classlist", "__objc_catlist", "__objc_selrefs"):
        assert sections[name].has(lief.MachO.Section.FLAGS.NO_DEAD_STRIP), name
    assert sections["__objc_classlist"].size == 8
    assert FOUNDATION in {str(library.name) for library in binary.libraries}
    bound = {str(each.symbol.name) for each in binary.bindings}
    assert {"_OBJC_CLASS_$_NSString", "___CFConstantStringClassReference", "_objc_msgSend"} <= bound


def test_the_functions_of_split_objects_are_listed() -> None:
    fat = lief.MachO.parse(str(linked("cgo-callbacks")))
    assert fat is not None
    binary = fat.at(0)
    starts = {binary.imagebase + start for start in binary.function_starts.functions}
    functions = {s.value for s in binary.symbols if s.name in ("_main.main", "_sort_words")}
    assert len(functions) == 2
    assert functions <= starts
    assert len(starts) > 1000
