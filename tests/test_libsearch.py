"""-l, -framework and re-exports are found by the rules of Apple's linker."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from pielink.errors import FormatError, LinkError
from pielink.formats.dylib import Library
from pielink.golang.cgo import Cgo
from pielink.native import libraries, libsearch
from pielink.passes.libraries import Libraries, find_libraries

STUB = """--- !tapi-tbd
tbd-version: 4
targets: [ x86_64-macos ]
install-name: {name}
{more}
exports:
  - targets: [ x86_64-macos ]
    symbols: [ {symbols} ]
...
"""
MACOS_13 = 13 << 16


def stub(path: Path, name: str, symbols: str = "", reexports: str = "") -> Path:
    more = ""
    if reexports:
        libs = f"    libraries: [ {reexports} ]"
        more = f"reexported-libraries:\n  - targets: [ x86_64-macos ]\n{libs}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(STUB.format(name=name, symbols=symbols, more=more))
    return path


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def asked(*flags: str) -> Libraries:
    """What flags of a link ask for."""
    return find_libraries(Cgo(), MACOS_13, flags)


def library_of(paths: libsearch.SearchPaths, name: str) -> list[Library]:
    path = libsearch.find_library(paths, name)
    assert path
    return libraries.read_file(path)


def test_directories_are_searched_in_order(tmp_path: Path) -> None:
    second = touch(tmp_path / "b/libx.dylib")
    touch(tmp_path / "c/libx.tbd")
    paths = libsearch.search_paths([str(tmp_path / each) for each in ("missing", "b", "c")])
    assert libsearch.find_library(paths, "x") == str(second)


def test_in_one_directory_a_stub_comes_before_dylib_and_archive(tmp_path: Path) -> None:
    paths = libsearch.search_paths([str(tmp_path)])
    for suffix in (".a", ".dylib", ".tbd"):
        made = touch(tmp_path / f"libx{suffix}")
        assert libsearch.find_library(paths, "x") == str(made)
    assert libsearch.find_library(paths, "y") is None


def test_dylibs_first_prefers_a_dylib_further_on(tmp_path: Path) -> None:
    archive = touch(tmp_path / "a/libx.a")
    dylib = touch(tmp_path / "b/libx.dylib")
    directories = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert libsearch.find_library(libsearch.search_paths(directories), "x") == str(archive)
    paths = libsearch.search_paths(directories, dylibs_first=True)
    assert libsearch.find_library(paths, "x") == str(dylib)
    assert libsearch.find_library(libsearch.search_paths(directories[:1]), "x") == str(archive)
    only = libsearch.search_paths(directories[:1])
    assert libsearch.find_library(only, "x", dylibs_only=True) is None


def test_an_object_is_found_by_its_whole_name(tmp_path: Path) -> None:
    made = touch(tmp_path / "crt1.o")
    assert libsearch.find_library(libsearch.search_paths([str(tmp_path)]), "crt1.o") == str(made)


def test_a_root_replaces_directories_that_it_has(tmp_path: Path) -> None:
    outside = touch(tmp_path / "opt/lib/libx.a")
    root = tmp_path / "sdk"
    inside = touch(root / str(tmp_path / "opt/lib").lstrip("/") / "libx.a")
    other = touch(tmp_path / "other/liby.a")
    directories = [str(outside.parent), str(other.parent)]
    paths = libsearch.search_paths(directories, roots=[str(root)])
    assert libsearch.find_library(paths, "x") == str(inside)
    assert libsearch.find_library(paths, "y") == str(other)
    no_root = libsearch.search_paths(directories, roots=[str(root), "/"])
    assert libsearch.find_library(no_root, "x") == str(outside)


def test_standard_directories_come_from_the_root_alone(tmp_path: Path) -> None:
    made = touch(tmp_path / "usr/lib/libz.tbd")
    paths = libsearch.search_paths(roots=[str(tmp_path)])
    assert libsearch.find_library(paths, "z") == str(made)
    assert paths.libraries == (str(tmp_path / "usr/lib"),)
    assert libsearch.search_paths(roots=[str(tmp_path)], standard=False).libraries == ()


def test_without_a_root_the_libraries_of_linux_are_left_alone() -> None:
    if os.uname().sysname == "Darwin":
        pytest.skip("on macOS the standard directories are the right ones")
    assert libsearch.search_paths().libraries == ()


def test_frameworks(tmp_path: Path) -> None:
    home = tmp_path / "System/Library/Frameworks/Foo.framework"
    stub_file = touch(home / "Versions/A/Foo.tbd")
    (home / "Foo.tbd").symlink_to("Versions/A/Foo.tbd")
    binary = touch(home / "Versions/A/Foo")
    (home / "Foo").symlink_to("Versions/A/Foo")
    debug = touch(home / "Versions/A/Foo_debug")
    paths = libsearch.search_paths(roots=[str(tmp_path)])
    found = libsearch.find_framework(paths, "Foo")
    assert found
    assert os.path.realpath(found) == str(stub_file)
    assert libsearch.find_framework(paths, "Foo,_debug") == str(debug)
    missing = libsearch.find_framework(paths, "Foo,_profile")
    assert missing
    assert os.path.realpath(missing) == str(stub_file)
    assert libsearch.find_framework(paths, "Bar") is None
    stub_file.unlink()
    assert libsearch.find_framework(paths, "Foo") == str(home / "Foo")
    assert (home / "Foo").resolve() == binary


def test_names_relative_to_the_loader_and_to_rpaths(tmp_path: Path) -> None:
    loader = str(touch(tmp_path / "lib/liba.dylib"))
    beside = touch(tmp_path / "lib/libb.dylib")
    other = touch(tmp_path / "more/libc.tbd")
    paths = libsearch.search_paths()
    find = libsearch.find_install_name
    assert find(paths, "@loader_path/libb.dylib", loader) == str(beside)
    rpaths = ["/nowhere", "@loader_path/../more"]
    found = find(paths, "@rpath/libc.dylib", loader, rpaths)
    assert found
    assert os.path.realpath(found) == str(other)
    assert find(paths, "@rpath/libd.dylib", loader, rpaths) is None


def test_zigs_stub_is_found_without_an_sdk() -> None:
    found = libsearch.zig_libsystem_stub()
    assert found
    assert os.path.basename(found) == "libSystem.tbd"
    for name in ("System", "c", "m", "pthread"):
        assert asked(f"-l{name}").dylibs == ["/usr/lib/libSystem.B.dylib"]


def test_zig_in_path_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zig = touch(tmp_path / "bin/zig")
    zig.chmod(0o755)
    made = touch(tmp_path / "lib/zig" / libsearch.ZIG_STUB)
    monkeypatch.setenv("PATH", str(zig.parent))
    monkeypatch.setattr(libsearch, "PathFinder", SimpleNamespace(find_spec=lambda name: None))
    found = libsearch.zig_libsystem_stub()
    assert found
    assert os.path.realpath(found) == str(made)


def test_libraries_that_macos_has_are_taken_on_trust() -> None:
    found = asked("-lresolv", "-framework", "Foundation")
    home = "/System/Library/Frameworks/Foundation.framework/Versions/C/Foundation"
    assert found.dylibs == ["/usr/lib/libresolv.9.dylib", home]
    assert found.linked.has_unlisted
    assert found.linked.find(b"_NSLog") is None
    assert [each.install_name for each in found.linked.dylibs] == found.dylibs


@pytest.mark.parametrize("flag", ["-lnosuch", "-framework nosuch"])
def test_what_is_not_found_says_what_to_do(flag: str) -> None:
    with pytest.raises(LinkError, match=f"{flag}: library not found; add its directory"):
        asked(*flag.split())


def test_a_private_reexport_binds_to_its_parent_and_a_public_one_to_itself(tmp_path: Path) -> None:
    root = tmp_path
    stub(root / "usr/lib/libpublic.tbd", "/usr/lib/libpublic.dylib", "_public")
    inner = "/usr/lib/inner/libprivate.dylib"
    stub(root / "usr/lib/inner/libprivate.tbd", inner, "_private")
    names = f"/usr/lib/libpublic.dylib, {inner}"
    stub(root / "usr/lib/libmain.tbd", "/usr/lib/libmain.dylib", "_main_symbol", names)
    paths = libsearch.search_paths(roots=[str(root)])
    linked = libraries.link([library_of(paths, "main")], paths, MACOS_13)

    def home(name: bytes) -> str:
        found = linked.find(name)
        assert found
        return found.dylib.install_name

    assert home(b"_main_symbol") == "/usr/lib/libmain.dylib"
    assert home(b"_private") == "/usr/lib/libmain.dylib"
    assert home(b"_public") == "/usr/lib/libpublic.dylib"
    assert linked.find(b"_nowhere") is None
    assert [each.install_name for each in linked.dylibs] == ["/usr/lib/libmain.dylib"]


def test_the_first_library_with_a_symbol_wins(tmp_path: Path) -> None:
    paths = libsearch.search_paths()
    groups = [
        libraries.read_file(stub(tmp_path / f"lib{n}.tbd", f"/{n}.dylib", f"_both, _{n}"))
        for n in ("one", "two")
    ]
    linked = libraries.link(groups, paths, MACOS_13)
    assert [linked.find(name).dylib.install_name for name in (b"_both", b"_two")] == [  # type: ignore[union-attr]
        "/one.dylib",
        "/two.dylib",
    ]


def test_missing_and_circular_reexports_are_errors(tmp_path: Path) -> None:
    paths = libsearch.search_paths(roots=[str(tmp_path)])
    lost = libraries.read_file(stub(tmp_path / "lost.tbd", "/lost.dylib", "", "/nowhere.dylib"))
    with pytest.raises(FormatError, match=r"lost\.tbd: passes on /nowhere\.dylib, which was not"):
        libraries.link([lost], paths, MACOS_13)
    stub(tmp_path / "a.tbd", "/a.dylib", "", "/b.dylib")
    stub(tmp_path / "b.tbd", "/b.dylib", "", "/a.dylib")
    circle = libraries.read_file(tmp_path / "a.tbd")
    with pytest.raises(FormatError, match=r"passes itself on"):
        libraries.link([circle], paths, MACOS_13)


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("/usr/lib/libz.1.dylib", True),
        ("/usr/lib/system/libsystem_c.dylib", False),
        ("/System/Library/Frameworks/Foo.framework/Versions/A/Foo", True),
        ("/System/Library/Frameworks/Foo.framework/Resources/libBar.dylib", False),
        ("/System/Library/Frameworks/F.framework/Frameworks/B.framework/B", False),
        ("/System/Library/PrivateFrameworks/Foo.framework/Foo", False),
    ],
)
def test_public_places(name: str, public: bool) -> None:
    assert libraries.is_public(name) == public


DIRECTIVES = (
    ("$ld$hide$os13.0$_f", MACOS_13, None),
    ("$ld$hide$os13.0$_f", 12 << 16, "/lib.dylib"),
    ("$ld$hide$os13.0$_f", MACOS_13 + 0x100, "/lib.dylib"),
    ("$ld$install_name$os13.0$/old.dylib", MACOS_13, "/old.dylib"),
    ("$ld$install_name$os12.0$/old.dylib", MACOS_13, "/lib.dylib"),
    ("$ld$previous$/old.dylib$$1$10.0$14.0$$", MACOS_13, "/old.dylib"),
    ("$ld$previous$/old.dylib$$1$10.0$13.0$$", MACOS_13, "/lib.dylib"),
    ("$ld$previous$/old.dylib$$2$10.0$14.0$$", MACOS_13, "/lib.dylib"),
    ("$ld$previous$/old.dylib$1.2$1$13.0$14.0$_f$", MACOS_13, "/old.dylib"),
    ("$ld$previous$/old.dylib$1.2$1$13.0$14.0$_g$", MACOS_13, "/lib.dylib"),
)


@pytest.mark.parametrize(("directive", "minos", "home"), DIRECTIVES)
def test_ld_directives(directive: str, minos: int, home: str | None, tmp_path: Path) -> None:
    path = stub(tmp_path / "lib.tbd", "/lib.dylib", f"_f, '{directive}'")
    linked = libraries.link([libraries.read_file(path)], libsearch.search_paths(), minos)
    found = linked.find(b"_f")
    assert (found and found.dylib.install_name) == home
    assert linked.find(directive.encode()) is None


def test_ld_add_and_weak(tmp_path: Path) -> None:
    directives = "_f, '$ld$add$os13.0$_g', '$ld$weak$os13.0$_f'"
    path = stub(tmp_path / "lib.tbd", "/lib.dylib", directives)
    linked = libraries.link([libraries.read_file(path)], libsearch.search_paths(), MACOS_13)
    added, weak = linked.find(b"_g"), linked.find(b"_f")
    assert added
    assert weak
    assert (added.weak_import, weak.weak_import) == (False, True)


def test_a_hidden_symbol_is_hidden_in_what_is_passed_on(tmp_path: Path) -> None:
    inner = "/usr/lib/inner/libp.dylib"
    stub(tmp_path / "usr/lib/inner/libp.tbd", inner, "_f, _g")
    stub(tmp_path / "usr/lib/libm.tbd", "/usr/lib/libm.dylib", "'$ld$hide$os13.0$_f'", inner)
    paths = libsearch.search_paths(roots=[str(tmp_path)])
    linked = libraries.link([library_of(paths, "m")], paths, MACOS_13)
    assert linked.find(b"_f") is None
    assert linked.find(b"_g")
