"""Real dylibs: names, re-exports and exports equal LIEF's; damaged ones are refused by name."""

from __future__ import annotations

import random
from pathlib import Path

import lief
import numpy as np
import pytest
from host_inputs import compile_object, link
from invalid.host_objects import mutate, refusal

from pielink.errors import FormatError
from pielink.formats import dylib, macho
from pielink.native import libraries

SOURCE = """
int plain(void) { return 1; }
int data_symbol = 3;
__attribute__((weak)) int weak_symbol(void) { return 2; }
__thread int per_thread = 4;
static int hidden(void) { return 5; }
__attribute__((visibility("hidden"))) int invisible(void) { return hidden(); }
"""


def shared(*flags: str) -> Path:
    return link(
        "zig",
        compile_object(SOURCE),
        flags=("-shared", "-Wl,-install_name,/opt/lib/libsample.2.dylib", *flags),
    )


def test_columns_equal_those_of_lief() -> None:
    data = shared().read_bytes()
    found = dylib.read(data, "libsample.dylib")
    binary = lief.MachO.parse(list(data))
    assert binary is not None
    other = binary.at(0)
    assert found.install_name == "/opt/lib/libsample.2.dylib"
    assert set(found.exports) == {str(each.name).encode() for each in other.exported_symbols}
    assert found.exports[b"_plain"] == 0
    assert found.exports[b"_weak_symbol"] & macho.EXPORT_SYMBOL_FLAGS_WEAK_DEFINITION
    assert found.exports[b"_per_thread"] & macho.EXPORT_SYMBOL_FLAGS_KIND_THREAD_LOCAL
    assert b"_invisible" not in found.exports


def test_exports_of_the_symbol_table_equal_those_of_the_trie() -> None:
    """A library from before export tries: the load command of the trie is made another's."""
    data = bytearray(shared().read_bytes())
    with_trie = dylib.read(data, "lib").exports
    for cmd in (macho.LC_DYLD_INFO_ONLY, macho.LC_DYLD_EXPORTS_TRIE):
        data = data.replace(cmd.to_bytes(4, "little"), (0x7FFF).to_bytes(4, "little"))
    without = dylib.read(data, "lib").exports
    assert set(without) == set(with_trie)
    assert without[b"_weak_symbol"] == with_trie[b"_weak_symbol"]


def test_a_file_is_read_by_what_it_holds(tmp_path: Path) -> None:
    copy = tmp_path / "libsample.dylib"
    copy.write_bytes(shared().read_bytes())
    assert libraries.read_file(copy)[0].install_name == "/opt/lib/libsample.2.dylib"
    with pytest.raises(FormatError, match=r"no\.dylib: cannot be read: No such file"):
        libraries.read_file(tmp_path / "no.dylib")


def test_an_executable_is_no_library() -> None:
    program = link("zig", compile_object("int main(void) { return 0; }"))
    with pytest.raises(FormatError, match="x: is an executable, not a dynamic library"):
        dylib.read(program.read_bytes(), "x")


@pytest.mark.parametrize(
    ("trie", "message"),
    [
        (b"\x00\x01_a\x00\x00", "reaches a node twice"),
        (b"\x00\x01_a\x00\x7f", "is cut off"),
        (b"\x00\x05_a\x00\x06", "is cut off"),
        (b"\x00\x01_a", "is cut off"),
        (b"\xff" * 12, "is cut off"),
    ],
)
def test_a_malformed_trie_is_refused(trie: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=f"^lib: export trie {message}"):
        dylib.read_trie(np.frombuffer(trie, np.uint8), 0, len(trie), "lib")


def test_a_mutated_dylib_is_read_or_refused_by_name() -> None:
    data = shared().read_bytes()
    rng = random.Random(11)
    errors = [refusal(dylib.read, mutate(data, rng), "lib.dylib") for _ in range(200)]
    assert all(error.startswith("lib.dylib: ") for error in errors if error)
    assert sum(map(bool, errors)) > 20
