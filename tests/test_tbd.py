"""Text stubs of every version give the same library; damaged ones are refused by name."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import lief
import pytest
from host_inputs import compile_object, libsystem_stub, link, lld
from invalid.host_objects import mutate, refusal
from invalid.host_stubs import CASES, STUB_V4, Case

from pielink.errors import FormatError
from pielink.formats import stub_text, tbd
from pielink.formats.macho import (
    EXPORT_SYMBOL_FLAGS_KIND_THREAD_LOCAL as THREAD_LOCAL,
)
from pielink.formats.macho import (
    EXPORT_SYMBOL_FLAGS_WEAK_DEFINITION as WEAK,
)

STUBS = Path(__file__).parent / "cases" / "stubs"
EXPECTED = {
    b"_function": 0,
    b"_with$dollar": 0,
    b"_intel_only": 0,
    b"_OBJC_CLASS_$_Shape": 0,
    b"_OBJC_METACLASS_$_Shape": 0,
    b"_OBJC_EHTYPE_$_Shape": 0,
    b"_OBJC_IVAR_$_Shape.side": 0,
    b"_weak": WEAK,
    b"_per_thread": THREAD_LOCAL,
}


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
def test_every_version_says_the_same(version: int) -> None:
    path = STUBS / f"shapes.v{version}.tbd"
    library = tbd.read(path.read_bytes(), "libshapes.tbd")[0]
    assert library.exports == EXPECTED
    assert library.directives == (b"$ld$hide$os10.4$_function",)
    assert library.install_name == "/usr/lib/libshapes.1.dylib"
    assert library.current_version == 0x0001_0203
    assert library.compatibility_version == 0x10000
    assert library.reexports == ("/usr/lib/libcolours.dylib",)
    assert library.parent_umbrella == ("" if version == 1 else "Drawing")


@pytest.mark.parametrize("version", [3, 4, 5])
def test_other_documents_are_libraries_too(version: int) -> None:
    found = tbd.read((STUBS / f"shapes.v{version}.tbd").read_bytes(), "libshapes.tbd")
    assert [library.install_name for library in found[1:]] == ["/usr/lib/libcolours.dylib"]
    assert found[1].exports == {b"_red": 0}


def test_a_stub_of_another_target_says_what_it_has() -> None:
    data = STUB_V4.replace("x86_64-macos", "armv7-ios").encode()
    with pytest.raises(FormatError, match=r"no target x86_64-macos \(it has armv7-ios"):
        tbd.read(data, "f.tbd")
    assert tbd.read(data, "f.tbd", "arm64")[0].exports == {b"_both": 0}


def test_a_library_for_haswell_serves_x86_64() -> None:
    data = STUB_V4.replace("x86_64-macos", "x86_64h-macos").encode()
    assert b"_intel_only" in tbd.read(data, "f.tbd")[0].exports


def test_quoting_comments_and_line_ends() -> None:
    text = STUB_V4.replace("_both", """_both, '_it''s', "_q\\"d" , _plain""")
    text = text.replace("tbd-version: 4", "tbd-version: 4  # the version").replace("\n", "\r\n")
    exports = tbd.read(text.encode(), "f.tbd")[0].exports
    assert {b"_both", b"_it's", b'_q"d', b"_plain", b"_intel_only"} == set(exports)


def test_lists_are_split_as_they_are_read_scalar_by_scalar() -> None:
    rng = random.Random(7)
    pieces = [b"_a", b"'_b'", b"'$ld$c'", b'"d"', b"'it''s'", b"''", b",", b", ", b",\n  ", b" "]
    pieces += [b"'", b'"', b"\\", b"'e,f'", b"g h", b",", b", "]
    seen = set()
    for _ in range(5000):
        flow = b"".join(rng.choices(pieces, k=rng.randrange(8)))
        plain, after = stub_text._walk(flow + b"]", 0, len(flow) + 1)
        assert stub_text.elements(flow) == plain, flow
        assert plain is None or after == len(flow) + 1
        seen.add(plain is None)
    assert seen == {True, False}


def test_the_stub_of_libsystem_that_comes_with_zig() -> None:
    libraries = tbd.read(libsystem_stub().read_bytes(), "libSystem.tbd")
    assert libraries[0].install_name == "/usr/lib/libSystem.B.dylib"
    names = {library.install_name for library in libraries}
    assert set(libraries[0].reexports) <= names
    exports = set().union(*(library.exports for library in libraries))
    assert {b"_printf", b"_malloc", b"_pthread_create", b"dyld_stub_binder"} <= exports


@pytest.mark.skipif(not lld(), reason="ld64.lld is not installed")
@pytest.mark.parametrize("version", [3, 4, 5])
def test_lld_binds_to_what_we_read(version: int, tmp_path: Path) -> None:
    """Another linker takes the same stub, and finds the same symbols with the same kinds."""
    stub = tmp_path / "libshapes.tbd"
    shutil.copy(STUBS / f"shapes.v{version}.tbd", stub)
    library = tbd.read(stub.read_bytes(), "libshapes.tbd")[0]
    plain = [name.decode() for name, flags in library.exports.items() if name[:1] == b"_"]
    source = ".data\n" + "".join(f'.quad "{n}"\n' for n in plain if n != "_per_thread")
    source += ".text\n.globl _main\n_main: ret\n"
    linker = lld()
    assert linker
    made = link(linker, compile_object(source, ".s"), flags=("-dead_strip_dylibs", str(stub)))
    binary = lief.MachO.parse(str(made))
    assert binary is not None
    bindings = list(binary.at(0).bindings)
    ours = [b for b in bindings if b.has_library and str(b.library.name) == library.install_name]
    # A weak definition binds by name among all libraries, besides its own.
    assert {str(b.symbol.name) for b in ours} | {"_weak"} == set(plain) - {"_per_thread"}
    assert "_weak" in {str(b.symbol.name) for b in bindings}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_a_malformed_stub_is_refused_by_name(case: Case) -> None:
    with pytest.raises(FormatError, match=case.message) as caught:
        tbd.read(case.data, "dir/lib.tbd")
    assert str(caught.value).startswith("dir/lib.tbd: ")


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
def test_a_mutated_stub_is_read_or_refused_by_name(version: int) -> None:
    data = (STUBS / f"shapes.v{version}.tbd").read_bytes()
    rng = random.Random(version)
    errors = [refusal(tbd.read, mutate(data, rng), "lib.tbd") for _ in range(150)]
    letters = [refusal(tbd.read, _typo(data, rng), "lib.tbd") for _ in range(150)]
    assert all(error.startswith("lib.tbd: ") for error in errors + letters if error)
    assert sum(map(bool, errors)) > 50
    assert sum(map(bool, letters)) > 10


def _typo(data: bytes, rng: random.Random) -> bytes:
    """Return the text with one character of the syntax put in or taken out."""
    at = rng.randrange(len(data))
    if rng.random() < 0.5:
        return data[:at] + data[at + 1 :]
    return data[:at] + rng.choice(b"[]{}'\"-:, \n#").to_bytes() + data[at:]
