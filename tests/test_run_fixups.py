"""The emulator's reading of fixups and exports is the same as LIEF's."""

from __future__ import annotations

from pathlib import Path

import lief
import pytest
from chained_program import chained
from emulator_programs import c_program, go_program, goroot_program

from pielink.emulator import chains, fixups
from pielink.emulator.exports import ExportTrie
from pielink.emulator.fixups import Bind
from pielink.emulator.machofile import Image, read_executable
from pielink.formats import macho

PROGRAMS = {
    "go": lambda: go_program("run_http"),
    "gofmt": lambda: goroot_program("cmd/gofmt"),
    "c": lambda: c_program("run_darwin", "-fblocks"),
    "c++": lambda: c_program("run_cxx", sources=["main.cc"]),
}

Row = tuple[int, int, str, int, bool]


def image_of(path: Path) -> Image:
    return read_executable(path.read_bytes(), str(path))


def rows_of(image: Image) -> tuple[set[int], set[Row]]:
    """(rebased addresses, binds) as the emulator decodes them."""
    rebased, binds = set[int](), set[Row]()
    if image.chained.size:
        for row in chains.chained(image):
            if isinstance(row, Bind):
                binds.add((row.address, row.ordinal, row.symbol, row.addend, row.weak_import))
            else:
                rebased.add(row.address)
        return rebased, binds
    for run in fixups.rebases(image):
        rebased.update(run.address + run.stride * nth for nth in range(run.times))
    for stream in (fixups.binds, fixups.lazy_binds, fixups.weak_binds):
        for row in stream(image):
            binds.add((row.address, row.ordinal, row.symbol, row.addend, row.weak_import))
    return rebased, binds


def lief_rows(path: Path) -> tuple[set[int], set[Row]]:
    """The same by LIEF."""
    parsed = lief.MachO.parse(str(path))
    image = parsed.at(0)
    rebased = {
        row.address
        for row in image.relocations
        if row.origin == lief.MachO.Relocation.ORIGIN.DYLDINFO
    }
    binds = set()
    for row in image.dyld_info.bindings:
        weak = row.binding_class == lief.MachO.DyldBindingInfo.CLASS.WEAK
        ordinal = macho.BIND_SPECIAL_DYLIB_WEAK_LOOKUP if weak else row.library_ordinal
        if ordinal > 0x7FFF_FFFF:
            ordinal -= 1 << 32
        weak_import = row.weak_import and not weak
        binds.add((row.address, ordinal, row.symbol.name, row.addend, weak_import))
    return rebased, binds


@pytest.mark.parametrize("name", PROGRAMS)
def test_opcodes_decode_to_the_rows_of_lief(name: str) -> None:
    path = PROGRAMS[name]()
    rebased, binds = rows_of(image_of(path))
    expected_rebased, expected_binds = lief_rows(path)
    assert rebased == expected_rebased
    assert binds == expected_binds
    assert len(binds) > 10


def test_chains_decode_to_the_rows_of_the_opcodes(tmp_path: Path) -> None:
    path = c_program("run_cxx", sources=["main.cc"])
    same = tmp_path / "chained"
    same.write_bytes(chained(path))
    rebased, binds = rows_of(image_of(path))
    chained_rebased, chained_binds = rows_of(image_of(same))
    assert chained_rebased == rebased - {row[0] for row in binds}
    assert {row[0] for row in chained_binds} == {row[0] for row in binds}
    assert chained_binds <= binds


def test_the_export_trie_lists_the_symbols_of_lief() -> None:
    path = c_program("run_dlfcn", "-rdynamic")
    trie = ExportTrie(image_of(path))
    parsed = lief.MachO.parse(str(path))
    expected = {
        symbol.name: symbol.export_info.address
        for symbol in parsed.at(0).exported_symbols
        if symbol.has_export_info
    }
    assert {export.name: export.value for export in trie} == expected
    assert "_exported_function" in expected
    for name in expected:
        found = trie.find(name)
        assert found is not None
        assert found.value == expected[name]
    assert trie.find("_exported_functio") is None
    assert trie.find("_exported_function1") is None
