"""Rules of the embedded code signature: its blobs, and the hash of every page.

A signature is a SuperBlob (big-endian): a count and an index of blobs by slot. Slot 0 (and the
alternates from 0x1000 on) hold a CodeDirectory: which hash, the page size, how many bytes of the
file it covers (codeLimit), and one hash for each page, found at hashOffset.

Source: xnu osfmk/kern/cs_blobs.h; bsd/kern/ubc_subr.c cs_validate_csblob,
cs_validate_codedirectory, cs_validate_hash.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from pielink.check.header import LOADER
from pielink.check.rule import Image, Rule
from pielink.formats import macho

UBC = "xnu bsd/kern/ubc_subr.c"
MAGIC_SIGNATURE, MAGIC_DIRECTORY = 0xFADE0CC0, 0xFADE0C02
ALTERNATES = range(0x1000, 0x1005)
HASHES = {1: ("sha1", 20), 2: ("sha256", 32), 3: ("sha256", 20), 4: ("sha384", 48)}
EXEC_SEGMENT_VERSION, MAIN_BINARY = 0x20400, 1
DIRECTORY = np.dtype(
    [
        *(
            (n, ">u4")
            for n in ("magic", "length", "version", "flags", "hash_offset", "ident_offset")
        ),
        *((n, ">u4") for n in ("special_slots", "code_slots", "code_limit")),
        *((n, "u1") for n in ("hash_size", "hash_type", "platform", "page_shift")),
        ("spare", ">u4"),
    ]
)
EXEC_SEGMENT_AT = 64  # execSegBase, execSegLimit, execSegFlags, each 8 bytes

RULES = (
    Rule(
        "signature-present",
        "an arm64 image has a code signature",
        "sign the file: the kernel kills unsigned code",
        f"{LOADER} parse_machfile (cs_process_global_enforcement)",
    ),
    Rule(
        "signature-blob",
        "the signature is a SuperBlob whose index and blobs lie inside it",
        "sign the file again",
        f"{UBC} cs_validate_csblob, cs_validate_blob",
    ),
    Rule(
        "signature-directory",
        "there is a code directory, and no two with the same hash",
        "sign the file again",
        f"{UBC} cs_validate_csblob",
    ),
    Rule(
        "signature-directory-magic",
        "a code directory starts with its magic and is large enough",
        "sign the file again",
        f"{UBC} cs_validate_codedirectory",
    ),
    Rule(
        "signature-page-size",
        "pages are 4 KiB, or 16 KiB on arm64",
        "sign with a page size of 4096",
        f"{UBC} cs_validate_codedirectory",
    ),
    Rule(
        "signature-hash-type",
        "the hash is SHA-1, SHA-256 or SHA-384, with the size of that hash",
        "sign with SHA-256",
        f"{UBC} cs_validate_codedirectory (cs_find_md)",
    ),
    Rule(
        "signature-slots",
        "all hashes lie inside the code directory",
        "sign the file again",
        f"{UBC} cs_validate_codedirectory",
    ),
    Rule(
        "signature-identifier",
        "the identifier ends inside the code directory",
        "sign the file again",
        f"{UBC} cs_validate_codedirectory",
    ),
    Rule(
        "signature-limit",
        "the hashes cover the file up to the signature, page by page",
        "sign the file after everything else is written",
        f"{UBC} cs_validate_hash (codeLimit); {LOADER} load_segment (cs_end_offset)",
    ),
    Rule(
        "signature-page-hash",
        "the hash of each page is that of its bytes",
        "the file was changed after signing: sign it again",
        f"{UBC} cs_validate_hash",
    ),
    Rule(
        "signature-exec-segment",
        "the executable segment of the code directory is __TEXT, marked main binary in executables",
        "sign with execSegBase, execSegLimit and execSegFlags of __TEXT",
        "xnu osfmk/kern/cs_blobs.h execSegBase, CS_EXECSEG_MAIN_BINARY",
    ),
    Rule(
        "signature-last",
        "the code signature is the last thing in __LINKEDIT and in the file",
        "write nothing behind the signature",
        "Security OSX/libsecurity_utilities/lib/macho++.cpp signingExtent, validateStructure",
    ),
)


@dataclass(frozen=True, slots=True)
class Directory:
    """A code directory that passed the rules of its bounds."""

    place: str
    raw: bytes
    fields: dict[str, int]


def check(image: Image) -> None:
    """Every rule of this file."""
    command = image.file.first(macho.LINKEDIT_DATA_COMMAND, macho.LC_CODE_SIGNATURE)
    if command is None:
        message = "there is no LC_CODE_SIGNATURE"
        image.report.require(not image.is_arm64, "signature-present", "load commands", message)
        return
    at, size = command["dataoff"], command["datasize"]
    place = "code signature"
    raw = image.readable(lambda: image.file.range(at, size, place), place)
    if raw is None:
        return
    end, whole = at + size, len(image.file.data)
    message = f"ends at {end:#x}, the file has {whole:#x} bytes"
    image.report.require(end == whole, "signature-last", place, message)
    for directory in _directories(image, raw):
        _check_directory(image, directory, at)


def _word(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 4], "big")


def _directories(image: Image, raw: bytes) -> list[Directory]:
    """The sound code directories of a SuperBlob; what is wrong with the rest is reported."""
    report, place = image.report, "code signature"
    length, count = _word(raw, 4), _word(raw, 8)
    message = f"magic {raw[:4].hex()}, length {length} of {len(raw)} bytes, {count} blobs"
    sound = len(raw) >= 12 and _word(raw, 0) == MAGIC_SIGNATURE and 12 <= length <= len(raw)
    sound = sound and count <= (length - 12) // 8
    if not report.require(sound, "signature-blob", place, message):
        return []
    found, types = [], []
    for index in range(count):
        slot, at = _word(raw, 12 + 8 * index), _word(raw, 16 + 8 * index)
        size = _word(raw, at + 4) if at + 8 <= length else 0
        where = f"{place} blob {index} (slot {slot:#x})"
        message = f"at {at:#x}, {size} bytes, of {length}"
        if not report.require(8 <= size <= length - at, "signature-blob", where, message):
            continue
        if slot == 0 or slot in ALTERNATES:
            directory = _directory(image, raw[at : at + size], where)
            if directory:
                found.append(directory)
                types.append(directory.fields["hash_type"])
    message = f"{len(found)} sound directories with hash types {types}"
    unique = bool(found) and len(set(types)) == len(types)
    report.require(unique, "signature-directory", place, message)
    return found


def _directory(image: Image, raw: bytes, place: str) -> Directory | None:
    report, size = image.report, len(raw)
    message = f"{size} bytes, magic {raw[:4].hex()}"
    is_one = size >= DIRECTORY.itemsize and _word(raw, 0) == MAGIC_DIRECTORY
    if not report.require(is_one, "signature-directory-magic", place, message):
        return None
    row = np.frombuffer(raw, DIRECTORY, 1)[0]
    fields = {name: int(row[name]) for name in DIRECTORY.names or ()}
    shifts = (12, 14) if image.is_arm64 else (12,)
    good = fields["page_shift"] in shifts
    message = f"2^{fields['page_shift']} bytes"
    report.require(good, "signature-page-size", place, message)
    name, digest = HASHES.get(fields["hash_type"], ("unknown", 0))
    message = f"type {fields['hash_type']} ({name}), {fields['hash_size']} bytes"
    known = digest == fields["hash_size"] != 0
    if not report.require(known, "signature-hash-type", place, message) or not good:
        return None
    at = fields["hash_offset"]
    fits = at <= size and fields["special_slots"] <= at // digest
    fits = fits and fields["code_slots"] <= (size - at) // digest
    message = f"{fields['special_slots']} + {fields['code_slots']} hashes at {at:#x} of {size:#x}"
    report.require(fits, "signature-slots", place, message)
    ident = fields["ident_offset"]
    ended = not ident or (ident <= size and raw.find(b"\0", ident) >= 0)
    report.require(ended, "signature-identifier", place, f"starts at {ident:#x} of {size:#x}")
    return Directory(place, raw, fields) if fits and ended else None


def _check_directory(image: Image, directory: Directory, signature_at: int) -> None:
    report, place, fields = image.report, directory.place, directory.fields
    limit, page = fields["code_limit"], 1 << fields["page_shift"]
    pages = -(-limit // page)
    message = (
        f"{fields['code_slots']} hashes for {limit:#x} bytes, the signature is at {signature_at:#x}"
    )
    covers = limit == signature_at and fields["code_slots"] == pages
    report.require(covers, "signature-limit", place, message)
    name, digest = HASHES[fields["hash_type"]]
    data, at = memoryview(image.file.data), fields["hash_offset"]
    wrong = []
    for index in range(min(pages, fields["code_slots"], -(-len(data) // page))):
        content = data[index * page : min((index + 1) * page, limit)]
        wanted = directory.raw[at + index * digest : at + (index + 1) * digest]
        if hashlib.new(name, content).digest()[:digest] != wanted:
            wrong.append(index)
    report.each(
        "signature-page-hash",
        wrong,
        lambda index: (f"{place} page {index}", f"differs at file offset {index * page:#x}"),
    )
    _check_exec_segment(image, directory)


def _check_exec_segment(image: Image, directory: Directory) -> None:
    text = image.segment_index("__TEXT")
    if directory.fields["version"] < EXEC_SEGMENT_VERSION or text is None:
        return
    if len(directory.raw) < EXEC_SEGMENT_AT + 24:
        return
    base, limit, flags = np.frombuffer(directory.raw, ">u8", 3, EXEC_SEGMENT_AT).tolist()
    row = image.file.segments[text]
    same = base == int(row["fileoff"]) and limit == int(row["filesize"])
    marked = bool(flags & MAIN_BINARY) == image.is_executable
    message = f"base {base:#x}, limit {limit:#x}, flags {flags:#x}"
    image.report.require(same and marked, "signature-exec-segment", directory.place, message)
