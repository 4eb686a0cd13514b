"""Load commands: Go's own output taken apart and described anew must give the same bytes."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from go_inputs import go_inputs

from pielink.errors import LinkError
from pielink.formats import macho
from pielink.golang.flags import parse_link_flags
from pielink.inspect.macho import MachOFile, read_macho
from pielink.options import Version
from pielink.passes.dyld_info import OPCODE_STREAMS, DyldInfo
from pielink.passes.headers import (
    Description,
    Linkedit,
    Part,
    header_room,
    headers,
    linkedit,
    uuid_of,
)
from pielink.passes.symtab import SymbolTable
from pielink.record import fields
from pielink.rows import with_columns
from pielink.tables import Layout, Sections, Segments


def layout_of(file: MachOFile) -> Layout:
    """The layout that a finished file shows, without `__LINKEDIT`."""
    kept = file.segments[file.segments["segname"] != b"__LINKEDIT"]
    flat = {n: kept[n].astype(np.int64) for n in ("vmaddr", "vmsize", "fileoff", "filesize")}
    segments = Segments(
        name=[n.decode() for n in kept["segname"]],
        maxprot=kept["maxprot"].astype(np.uint8),
        initprot=kept["initprot"].astype(np.uint8),
        flags=kept["flags"],
        **flat,
    )
    rows = file.sections
    sections = Sections(
        segment=file.section_segment.astype(np.int32),
        name=[n.decode() for n in rows["sectname"]],
        address=rows["addr"].astype(np.int64),
        size=rows["size"].astype(np.int64),
        offset=rows["offset"].astype(np.int64),
        align=1 << rows["align"].astype(np.int64),
        flags=rows["flags"],
        reserved1=rows["reserved1"],
        reserved2=rows["reserved2"],
    )
    return Layout(segments, sections, np.zeros(1, np.int64), np.zeros(1, np.uint8))


def parts_of(file: MachOFile) -> dict[str, Part]:
    """Where things are in `__LINKEDIT`."""
    info, symbols = file.dyld_info, file.first(macho.SYMTAB_COMMAND, macho.LC_SYMTAB)
    dynamic = file.first(macho.DYSYMTAB_COMMAND, macho.LC_DYSYMTAB)
    assert symbols
    assert dynamic
    streams = {n: Part(info[f"{n}_off"], info[f"{n}_size"]) for n in OPCODE_STREAMS}
    return streams | {
        "chained": Part(),
        "symbols": Part(symbols["symoff"], 16 * symbols["nsyms"]),
        "indirect": Part(dynamic["indirectsymoff"], 4 * dynamic["nindirectsyms"]),
        "strings": Part(symbols["stroff"], symbols["strsize"]),
    }


def table_of(file: MachOFile) -> SymbolTable:
    """The symbol table of a finished file."""
    dynamic = file.first(macho.DYSYMTAB_COMMAND, macho.LC_DYSYMTAB)
    assert dynamic
    return SymbolTable(
        entries=file.symbols,
        strings=file.strings,
        indirect=file.indirect_symbols,
        local_count=dynamic["nlocalsym"],
        external_count=dynamic["nextdefsym"],
        undefined_count=dynamic["nundefsym"],
    )


def description_of(file: MachOFile) -> Description:
    """What the load commands of a finished file say besides where things are."""
    entry = file.first(macho.UNIXTHREAD_COMMAND_X86_64, macho.LC_UNIXTHREAD)
    build = file.first(macho.BUILD_VERSION_COMMAND, macho.LC_BUILD_VERSION)
    assert entry
    assert build
    uuid = file.of(macho.LC_UUID)
    return Description(
        entry=entry["rip"],
        pie=bool(file.header["flags"] & macho.MH_PIE),
        dylibs=file.libraries,
        minos=Version(build["minos"] >> 16),
        sdk=Version(build["sdk"] >> 16, build["sdk"] >> 8 & 0xFF),
        uuid=uuid[0].data[8:] if uuid else None,
    )


@pytest.mark.parametrize("flags", [(), ("-buildmode=exe",), ("-B", "none"), ("-s",)])
def test_load_commands_of_go_output_come_out_the_same(flags: tuple[str, ...]) -> None:
    file = read_macho(go_inputs("hello").reference(flags))
    segment = file.segments[file.segments["segname"] == b"__LINKEDIT"][0]
    data = Linkedit(
        int(segment["vmaddr"]),
        int(segment["fileoff"]),
        bytes(int(segment["filesize"])),
        parts_of(file),
    )
    made = headers(layout_of(file), data, table_of(file), description_of(file))
    assert made == file.data[: 32 + int(file.header["sizeofcmds"])]


def test_thread_local_variables_are_announced_in_the_header() -> None:
    file = read_macho(go_inputs("hello").reference())
    layout = layout_of(file)
    kinds = layout.sections.flags.copy()
    kinds[-3] = macho.S_THREAD_LOCAL_VARIABLES
    layout = with_columns(layout, sections=with_columns(layout.sections, flags=kinds))
    data = linkedit(layout, DyldInfo(), table_of(file), 4096)
    made = headers(layout, data, table_of(file), description_of(file))
    flags = int(np.frombuffer(made, macho.MACH_HEADER_64, 1)[0]["flags"])
    assert flags == int(file.header["flags"]) | macho.MH_HAS_TLV_DESCRIPTORS


def test_linkedit_follows_the_last_segment_as_in_go_output() -> None:
    file = read_macho(go_inputs("hello").reference())
    streams = {n: file.info_stream(n) for n in OPCODE_STREAMS}
    made = linkedit(layout_of(file), DyldInfo(**streams), table_of(file), 4096)
    segment = file.segments[-1]
    assert (made.address, made.offset) == (int(segment["vmaddr"]), int(segment["fileoff"]))
    assert made.parts == parts_of(file)
    assert made.content == file.segment_bytes(len(file.segments) - 1)


def test_linkedit_parts_are_aligned_and_absent_ones_are_zero() -> None:
    file = read_macho(go_inputs("hello").reference())
    info = DyldInfo(rebase=b"\x11\x00", bind=b"", export=b"x" * 13)
    made = linkedit(layout_of(file), info, table_of(file), 4096)
    for name in fields(DyldInfo):
        part = made.parts[name]
        assert part.offset % 8 == part.size % 8 == 0
        assert (part == Part()) == (getattr(info, name) == b"")
    assert len(made.content) % 16 == 0
    end = made.offset + len(made.content)
    assert made.parts["strings"].offset + made.parts["strings"].size == end


def test_header_that_reaches_the_first_section_is_an_error() -> None:
    file = read_macho(go_inputs("hello").reference())
    about = Description(0, True, ["/usr/lib/" + "x" * 100] * 40, Version(13), Version(26), None)
    data = linkedit(layout_of(file), DyldInfo(), table_of(file), 4096)
    with pytest.raises(LinkError, match="first section starts at 4096: link fewer dylibs"):
        headers(layout_of(file), data, table_of(file), about)


# A name of 24 bytes takes 56 in its command, with the NUL, though Go reckons with 48.
@pytest.mark.parametrize(("count", "room"), [(0, 4096), (37, 4096), (38, 8192), (128, 12288)])
def test_many_dylibs_get_more_header_room(count: int, room: int) -> None:
    assert header_room(["/usr/lib/libpart00.dylib"] * count) == room


def test_uuid_from_the_build_id_is_the_one_of_go() -> None:
    inputs = go_inputs("hello")
    options = parse_link_flags(inputs.link_argv("out"), inputs.tool_environment())
    file = read_macho(inputs.reference())
    assert uuid_of(options.uuid, options.build_id, []) == file.of(macho.LC_UUID)[0].data[8:]


def test_uuid_forms() -> None:
    text = "0x00112233445566778899aabbccddeeff"
    assert uuid_of(text, "", []) == bytes.fromhex(text[2:])
    assert uuid_of("none", "id", []) is None
    digest = hashlib.sha256(b"content").digest()
    made = uuid_of("", "", [b"con", b"tent"])
    assert made
    assert made == uuid_of("0x1234", "", [b"content"])
    assert made[1:6] == digest[1:6]
    assert (made[6] >> 4, made[8] >> 6) == (3, 2)
