"""Build ID, build info, and the FIPS 140 sum."""

from __future__ import annotations

import hashlib
import hmac
import struct
from pathlib import Path

import lief
import numpy as np
import pytest
from go_inputs import PREVIOUS_RELEASE, RELEASE, go_inputs
from reference.golang_program import Maker

from pielink.builder import SymbolBuilder
from pielink.errors import LinkError
from pielink.golang import fips
from pielink.golang.buildinfo import define_build_id, define_build_info, quote
from pielink.tables import Kind, Layout, Sections, Segments


def builder() -> SymbolBuilder:
    """A builder for a program of which nothing is live."""
    program, symbols, relocs, _, row_of_slot = Maker().finish()
    return SymbolBuilder(program, symbols, relocs, row_of_slot)  # type: ignore[arg-type]


def test_build_id_is_a_text_symbol() -> None:
    made = builder()
    row = define_build_id(made, "abc/def")
    symbols, _, _ = made.finish()
    content = made.memory.get(int(symbols.data_offset[row]), int(symbols.data_size[row]))
    assert content == b'\xff Go build ID: "abc/def"\n \xff'
    assert symbols.kind[row] == Kind.TEXT


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("a/b-_", '"a/b-_"'),
        ('say "hi" \\', r'"say \"hi\" \\"'),
        ("\a\b\t\n\v\f\r", r'"\a\b\t\n\v\f\r"'),
        ("\0\x1f\x7f", r'"\x00\x1f\x7f"'),
        ("é☺", '"é☺"'),
        ("\u200b\U000e0001\x85", r'"\u200b\U000e0001\u0085"'),
        (b"\xff\xfe".decode("utf-8", "surrogateescape"), r'"\xff\xfe"'),
    ],
)
def test_go_string_literals(text: str, quoted: str) -> None:
    assert quote(text) == quoted


def test_build_info_holds_version_and_modules() -> None:
    made = builder()
    row = define_build_info(made, "go1.27.3", "m" * 200)
    symbols, relocs, _ = made.finish()
    content = made.memory.get(int(symbols.data_offset[row]), int(symbols.data_size[row]))
    assert content[:32] == b"\xff Go buildinf:\x08\x02" + bytes(16)
    assert content[32:].rstrip(b"\0") == b"\x08go1.27.3" + b"\xc8\x01" + b"m" * 200
    assert len(content) % 16 == 0
    assert symbols.align[row] == 16
    (reference,) = relocs.owner[relocs.target == row].tolist()
    assert made.find("go:buildinfo.ref") == reference


def segment_table(linked: lief.MachO.Binary) -> Segments:
    """The segments of a linked file."""
    rows = list(linked.segments)

    def column(name: str) -> np.ndarray:
        return np.array([getattr(s, name) for s in rows], np.int64)

    return Segments(
        [s.name for s in rows],
        column("virtual_address"),
        column("virtual_size"),
        column("file_offset"),
        column("file_size"),
        *(column(n) for n in ("max_protection", "init_protection", "flags")),  # type: ignore[arg-type]
    )


def no_sections() -> Sections:
    nothing = np.zeros(0, np.int64)
    return Sections(nothing, [], *(nothing for _ in range(7)))  # type: ignore[arg-type]


def linked_layout(path: Path) -> tuple[Layout, fips.FipsRows, int]:
    """The layout of a file that Go's linker made, with rows for the FIPS symbols; sum's offset."""
    linked = lief.MachO.parse(str(path)).at(0)
    info = next(s for s in linked.sections if s.name == "__go_fipsinfo")
    addresses = struct.unpack_from("<9Q", path.read_bytes(), info.offset + 48)
    assert addresses[0] == info.virtual_address
    layout = Layout(
        segment_table(linked), no_sections(), np.array([0, *addresses]), np.zeros(10, np.uint8)
    )
    return layout, fips.FipsRows(1, tuple(range(2, 10))), info.offset + 16


@pytest.mark.parametrize("release", [RELEASE, PREVIOUS_RELEASE])
def test_the_fips_sum_equals_the_one_that_go_writes(release: str, tmp_path: Path) -> None:
    path = go_inputs("hello", release).reference()
    layout, rows, at = linked_layout(path)
    want = path.read_bytes()
    image = np.frombuffer(want, np.uint8).copy()
    image[at : at + 32] = 0
    fips.put_sum(image, layout, rows, str(tmp_path / "fips.o"))
    assert image.tobytes() == want
    hashed = (tmp_path / "fips.o").read_bytes()
    assert hashed.startswith(b"go fips object v1\n")
    assert hmac.digest(bytes(32), hashed, hashlib.sha256) == want[at : at + 32]


def test_the_fips_object_equals_the_one_that_go_writes(tmp_path: Path) -> None:
    inputs = go_inputs("hello")
    theirs, ours = tmp_path / "theirs.o", tmp_path / "ours.o"
    path = inputs.reference((f"-fipso={theirs}",))
    layout, rows, _ = linked_layout(path)
    fips.put_sum(np.frombuffer(path.read_bytes(), np.uint8).copy(), layout, rows, str(ours))
    assert ours.read_bytes() == theirs.read_bytes()


def test_a_fips_range_outside_of_the_file_is_an_error() -> None:
    layout, rows, _ = linked_layout(go_inputs("hello").reference())
    layout.address[rows.markers[1]] += 1 << 40
    image = np.zeros(1 << 22, np.uint8)
    with pytest.raises(LinkError, match="go:textfipsstart: not in the file"):
        fips.put_sum(image, layout, rows)


def test_a_fips_object_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    path = go_inputs("hello").reference()
    layout, rows, _ = linked_layout(path)
    image = np.frombuffer(path.read_bytes(), np.uint8).copy()
    with pytest.raises(LinkError, match=r"no/fips.o: cannot write: No such file"):
        fips.put_sum(image, layout, rows, str(tmp_path / "no" / "fips.o"))


def test_fips_symbols_refer_to_each_other() -> None:
    made = builder()
    rows = fips.define_fips(made)
    symbols, relocs, _ = made.finish()
    owned = relocs.owner == rows.info
    assert relocs.target[owned].tolist() == [rows.info, *rows.markers]
    assert relocs.offset[owned].tolist() == list(range(48, 120, 8))
    assert symbols.size[rows.info] == 120
    assert symbols.size[list(rows.markers)].tolist() == [1] * 8
    kinds = [Kind.TEXT_FIPS_START, Kind.TEXT_FIPS_END]
    assert symbols.kind[list(rows.text)].tolist() == kinds
