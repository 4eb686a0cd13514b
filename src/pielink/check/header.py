"""Rules of the mach header, the load commands, the platform, the UUID and the linked dylibs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from pielink.check.rule import Image, Report, Rule
from pielink.errors import FormatError
from pielink.formats import macho
from pielink.inspect.macho import COMMAND_NAMES, DYLIB_COMMANDS, MachOFile

UNSAFE_HEADER = "dyld mach_o/UnsafeHeader.cpp"
LOADER = "xnu bsd/kern/mach_loader.c"

RULES = (
    Rule(
        "header-magic",
        "the file starts with MH_MAGIC_64 and a whole mach_header_64",
        "give a 64-bit Mach-O file",
        f"{UNSAFE_HEADER} valid",
    ),
    Rule(
        "header-cputype",
        "the CPU type is x86_64 or arm64",
        "link for an architecture that macOS runs",
        f"{LOADER} parse_machfile (grade_binary)",
    ),
    Rule(
        "header-filetype",
        "the file is an executable, dylib, bundle or dylinker",
        "link a final image; objects are not loaded",
        f"{UNSAFE_HEADER} validStructureLoadCommands",
    ),
    Rule(
        "pie-required",
        "an arm64 executable has MH_PIE",
        "link with -buildmode=pie",
        f"{LOADER} parse_machfile (pie_required)",
    ),
    Rule(
        "commands-in-file",
        "header and load commands end inside the file",
        "the file is cut off, or sizeofcmds is wrong: link again",
        f"{UNSAFE_HEADER} validStructureLoadCommands",
    ),
    Rule(
        "command-size",
        "each load command has at least 8 bytes and ends inside sizeofcmds",
        "cmdsize or ncmds is wrong: link again",
        f"{UNSAFE_HEADER} forEachLoadCommand",
    ),
    Rule(
        "command-alignment",
        "cmdsize is a multiple of 8",
        "pad the load command with zeros",
        "xnu EXTERNAL_HEADERS/mach-o/loader.h struct load_command",
    ),
    Rule(
        "command-known",
        "dyld knows every load command that has LC_REQ_DYLD set",
        "leave the load command out",
        f"{UNSAFE_HEADER} validStructureLoadCommands",
    ),
    Rule(
        "command-fixed-size",
        "cmdsize is that of the command's structure and its counted entries",
        "write cmdsize as the structure says",
        f"{UNSAFE_HEADER} validStructureLoadCommands",
    ),
    Rule(
        "command-string",
        "the string of a load command starts and ends inside the command",
        "terminate the string with a zero byte inside cmdsize",
        f"{UNSAFE_HEADER} stringOverflow",
    ),
    Rule(
        "build-version",
        "a load command names platform macOS with minimum OS and SDK",
        "add LC_BUILD_VERSION with platform 1",
        f"{UNSAFE_HEADER} validSemanticsPlatform, loadableIntoProcess",
    ),
    Rule(
        "build-version-once",
        "there is just one LC_BUILD_VERSION or LC_VERSION_MIN_MACOSX",
        "keep one of them",
        f"{LOADER} parse_machfile (found_version_cmd)",
    ),
    Rule(
        "uuid-present",
        "there is an LC_UUID",
        "add LC_UUID with a hash of the contents",
        f"{UNSAFE_HEADER} validSemanticsUUID; Policy.cpp enforceHasUUID",
        "26.0",
        "12.0",
    ),
    Rule(
        "uuid-once",
        "there is at most one LC_UUID",
        "keep one LC_UUID",
        f"{UNSAFE_HEADER} validSemanticsUUID",
    ),
    Rule(
        "dylib-needed",
        "at least one dylib is linked",
        "link with /usr/lib/libSystem.B.dylib",
        f"{UNSAFE_HEADER} validSemanticsLinkedDylibs; Policy.cpp enforceHasLinkedDylibs",
        "15.4",
    ),
    Rule(
        "dylib-duplicate",
        "no dylib is linked twice",
        "keep one load command for each dylib",
        f"{UNSAFE_HEADER} validSemanticsLinkedDylibs; Policy.cpp enforceNoDuplicateDylibs",
        "26.0",
    ),
    Rule(
        "rpath-duplicate",
        "no LC_RPATH is there twice",
        "keep one LC_RPATH for each path",
        f"{UNSAFE_HEADER} validSemanticsRPath; Policy.cpp enforceNoDuplicateRPaths",
        "26.0",
    ),
    Rule(
        "install-name",
        "a dylib has one LC_ID_DYLIB, any other file has none",
        "give dylibs, and only them, an install name",
        f"{UNSAFE_HEADER} validSemanticsInstallName",
    ),
    Rule(
        "dylinker",
        "a dynamic executable has one LC_LOAD_DYLINKER, and it names /usr/lib/dyld",
        "add LC_LOAD_DYLINKER /usr/lib/dyld once",
        f"{LOADER} parse_machfile, load_dylinker",
    ),
)

FILE_TYPES = (macho.MH_EXECUTE, macho.MH_DYLIB, macho.MH_BUNDLE, macho.MH_DYLINKER)
VERSION_COMMANDS = (macho.LC_BUILD_VERSION, macho.LC_VERSION_MIN_MACOSX)

# Command -> size of its structure. Those with counted entries or a string are in the tables below.
_LINKEDIT_DATA = (
    *(macho.LC_CODE_SIGNATURE, macho.LC_SEGMENT_SPLIT_INFO, macho.LC_FUNCTION_STARTS),
    *(macho.LC_DATA_IN_CODE, macho.LC_DYLD_EXPORTS_TRIE, macho.LC_DYLD_CHAINED_FIXUPS),
)
FIXED_SIZES = {
    macho.LC_SYMTAB: macho.SYMTAB_COMMAND.itemsize,
    macho.LC_DYSYMTAB: macho.DYSYMTAB_COMMAND.itemsize,
    macho.LC_DYLD_INFO: macho.DYLD_INFO_COMMAND.itemsize,
    macho.LC_DYLD_INFO_ONLY: macho.DYLD_INFO_COMMAND.itemsize,
    macho.LC_UUID: macho.UUID_COMMAND.itemsize,
    macho.LC_MAIN: macho.ENTRY_POINT_COMMAND.itemsize,
    macho.LC_SOURCE_VERSION: macho.SOURCE_VERSION_COMMAND.itemsize,
    macho.LC_VERSION_MIN_MACOSX: 16,
    **dict.fromkeys(_LINKEDIT_DATA, macho.LINKEDIT_DATA_COMMAND.itemsize),
}
# Command -> structure, offset of the count in it, bytes of each entry.
COUNTED = {
    macho.LC_SEGMENT_64: (macho.SEGMENT_COMMAND_64, "nsects", macho.SECTION_64.itemsize),
    macho.LC_BUILD_VERSION: (macho.BUILD_VERSION_COMMAND, "ntools", 8),
}
# The lc_str is the first field behind cmdsize; the number is the size of the structure.
STRINGS = {
    macho.LC_ID_DYLIB: macho.DYLIB_COMMAND.itemsize,
    **dict.fromkeys(DYLIB_COMMANDS, macho.DYLIB_COMMAND.itemsize),
    **dict.fromkeys((macho.LC_RPATH, macho.LC_LOAD_DYLINKER, macho.LC_DYLD_ENVIRONMENT), 12),
}
KNOWN_REQUIRED = {cmd for cmd in COMMAND_NAMES if cmd & macho.LC_REQ_DYLD}


def check_structure(data: bytes, report: Report) -> bool:
    """Header and load commands, on the bare bytes. False: nothing more can be read."""
    if not report.require(
        len(data) >= macho.MACH_HEADER_64.itemsize
        and int.from_bytes(data[:4], "little") == macho.MH_MAGIC_64,
        "header-magic",
        "mach_header_64",
        f"{len(data)} bytes, magic {data[:4].hex()}",
    ):
        return False
    header = np.frombuffer(data, macho.MACH_HEADER_64, 1)[0]
    end = macho.MACH_HEADER_64.itemsize + int(header["sizeofcmds"])
    if not report.require(
        end <= len(data),
        "commands-in-file",
        "mach_header_64",
        f"load commands end at {end:#x}, the file has {len(data):#x} bytes",
    ):
        return False
    return _walk(data, int(header["ncmds"]), end, report)


def _walk(data: bytes, count: int, end: int, report: Report) -> bool:
    at, whole = macho.MACH_HEADER_64.itemsize, True
    for index in range(count):
        cmd, size = np.frombuffer(data, "<u4", 2, at).tolist() if at + 8 <= end else (0, 0)
        place = f"load command {index} ({COMMAND_NAMES.get(cmd, hex(cmd))})"
        if size < 8 or size > end - at:
            report.fail(
                "command-size", place, f"cmdsize {size} at {at:#x}, commands end at {end:#x}"
            )
            return False
        report.require(size % 8 == 0, "command-alignment", place, f"cmdsize is {size}")
        report.require(
            cmd & macho.LC_REQ_DYLD == 0 or cmd in KNOWN_REQUIRED,
            "command-known",
            place,
            "required by LC_REQ_DYLD but unknown",
        )
        whole &= _check_size(cmd, data[at : at + size], place, report)
        at += size
    return whole


def _check_size(cmd: int, raw: bytes, place: str, report: Report) -> bool:
    """Does the command have the size that its structure and counts say, its string inside?"""
    size, least = len(raw), FIXED_SIZES.get(cmd, 8)
    wanted = FIXED_SIZES.get(cmd, size)
    if cmd in COUNTED:
        dtype, field, each = COUNTED[cmd]
        least = wanted = dtype.itemsize
        if size >= least:
            wanted += int(np.frombuffer(raw, dtype, 1)[0][field]) * each
    if cmd in STRINGS:
        least = STRINGS[cmd]
    message = f"cmdsize is {size}, the structure needs {max(wanted, least)}"
    fits = size >= least and size == wanted
    if not report.require(fits, "command-fixed-size", place, message):
        return False
    if cmd not in STRINGS:
        return True
    at = int.from_bytes(raw[8:12], "little")
    inside = STRINGS[cmd] <= at < size and raw.find(b"\0", at) >= 0
    return report.require(inside, "command-string", place, f"its string at {at} of {size} bytes")


def check(image: Image) -> None:
    """The rules above that need no more than header and load commands."""
    file, report = image.file, image.report
    cpu, flags = int(file.header["cputype"]), int(file.header["flags"])
    known = cpu in (macho.CPU_TYPE_X86_64, macho.CPU_TYPE_ARM64)
    report.require(known, "header-cputype", "mach_header_64", f"cputype is {cpu:#x}")
    kind = image.filetype
    report.require(kind in FILE_TYPES, "header-filetype", "mach_header_64", f"filetype is {kind}")
    if image.is_executable and image.is_arm64:
        message = f"flags are {flags:#x}"
        report.require(bool(flags & macho.MH_PIE), "pie-required", "mach_header_64", message)
    _check_platform(image)
    uuids = len(file.of(macho.LC_UUID))
    report.require(uuids > 0, "uuid-present", "load commands", "there is none")
    report.require(uuids < 2, "uuid-once", "load commands", f"there are {uuids}")
    _check_dylibs(image)
    if image.is_executable and flags & macho.MH_DYLDLINK:
        paths = [
            c.string(int.from_bytes(c.data[8:12], "little"))
            for c in file.of(macho.LC_LOAD_DYLINKER)
        ]
        message = f"there are {len(paths)}: {', '.join(paths) or 'none'}"
        report.require(paths == ["/usr/lib/dyld"], "dylinker", "LC_LOAD_DYLINKER", message)


def platform(file: MachOFile) -> dict[str, Any]:
    """platform, minos and sdk of the image (packed versions); all 0 if none is given."""
    found = file.of(*VERSION_COMMANDS)
    if not found:
        return {"platform": 0, "minos": 0, "sdk": 0}
    if found[0].cmd == macho.LC_BUILD_VERSION:
        return found[0].fields(macho.BUILD_VERSION_COMMAND)
    if len(found[0].data) < 16:
        raise FormatError("LC_VERSION_MIN_MACOSX is too short", file.path, found[0].offset)
    minos, sdk = np.frombuffer(found[0].data, "<u4", 2, 8).tolist()
    return {"platform": macho.PLATFORM_MACOS, "minos": minos, "sdk": sdk}


def _check_platform(image: Image) -> None:
    found = image.file.of(*VERSION_COMMANDS)
    number = platform(image.file)["platform"]
    message = f"platform is {number}" if found else "there is none"
    is_macos = number == macho.PLATFORM_MACOS
    image.report.require(is_macos, "build-version", "LC_BUILD_VERSION", message)
    message = f"there are {len(found)}"
    image.report.require(len(found) < 2, "build-version-once", "load commands", message)


def _check_dylibs(image: Image) -> None:
    file, report = image.file, image.report
    message = "no LC_LOAD_DYLIB"
    report.require(len(file.libraries) > 0, "dylib-needed", "load commands", message)
    paths = [c.string(int.from_bytes(c.data[8:12], "little")) for c in file.of(macho.LC_RPATH)]
    for rule, names in (("dylib-duplicate", file.libraries), ("rpath-duplicate", paths)):
        for name, count in Counter(names).items():
            report.require(count == 1, rule, name, f"is there {count} times")
    ids = len(file.of(macho.LC_ID_DYLIB))
    wanted = 1 if image.filetype == macho.MH_DYLIB else 0
    message = f"there are {ids}, must be {wanted}"
    report.require(ids == wanted, "install-name", "LC_ID_DYLIB", message)
