"""The ad-hoc code signature: hashes of the file's pages, signed by nobody.

The kernel maps a page of a signed file only if its hash is the one in the signature. An ad-hoc
signature is one SuperBlob with one CodeDirectory; all numbers in it are big-endian:

    SuperBlob       magic, length, count of blobs (1)
    BlobIndex       slot type (CSSLOT_CODEDIRECTORY), offset of the blob in the SuperBlob
    CodeDirectory   the record below, then the identifier as a C string, then one SHA-256 hash
                    for each page of the file up to the signature

Source: cs_blobs.h of xnu, and cmd/internal/codesign of Go.
"""

from __future__ import annotations

import hashlib

import numpy as np

from pielink.tables import U1

PAGE_BITS = 12
HASH_SIZE = 32

CSMAGIC_EMBEDDED_SIGNATURE = 0xFADE0CC0
CSMAGIC_CODEDIRECTORY = 0xFADE0C02
CSSLOT_CODEDIRECTORY = 0
CS_ADHOC, CS_LINKER_SIGNED = 0x2, 0x20000  # codesign replaces a linker's signature unasked
CS_SUPPORTSEXECSEG = 0x20400
CS_HASHTYPE_SHA256 = 2
CS_EXECSEG_MAIN_BINARY = 0x1

SUPER_BLOB = np.dtype([(n, ">u4") for n in ("magic", "length", "count", "type", "offset")])
CODE_DIRECTORY = np.dtype(
    [
        *((n, ">u4") for n in ("magic", "length", "version", "flags", "hashOffset", "identOffset")),
        *((n, ">u4") for n in ("nSpecialSlots", "nCodeSlots", "codeLimit")),
        *((n, "u1") for n in ("hashSize", "hashType", "platform", "pageSize")),
        *((n, ">u4") for n in ("spare2", "scatterOffset", "teamOffset", "spare3")),
        *((n, ">u8") for n in ("codeLimit64", "execSegBase", "execSegLimit", "execSegFlags")),
    ]
)


def signature_size(code_size: int, identifier: str) -> int:
    """Bytes that the signature of a file of `code_size` bytes takes."""
    start = SUPER_BLOB.itemsize + CODE_DIRECTORY.itemsize + len(identifier.encode()) + 1
    return start + HASH_SIZE * -(-code_size // (1 << PAGE_BITS))


def sign(image: U1, identifier: str, text_offset: int, text_size: int) -> bytes:
    """The signature of a main executable, to be appended to `image`.

    `image` is the whole file up to the signature, its header final; `text_offset` and `text_size`
    are the range of `__TEXT` in the file. `identifier` is by custom the file's name.
    """
    name = identifier.encode() + b"\0"
    size = signature_size(len(image), identifier)
    page = 1 << PAGE_BITS
    blob = np.zeros((), SUPER_BLOB)
    blob["magic"], blob["length"], blob["count"] = CSMAGIC_EMBEDDED_SIGNATURE, size, 1
    blob["type"], blob["offset"] = CSSLOT_CODEDIRECTORY, SUPER_BLOB.itemsize
    directory = np.zeros((), CODE_DIRECTORY)
    fields = {
        "magic": CSMAGIC_CODEDIRECTORY,
        "length": size - SUPER_BLOB.itemsize,
        "version": CS_SUPPORTSEXECSEG,
        "flags": CS_ADHOC | CS_LINKER_SIGNED,
        "hashOffset": CODE_DIRECTORY.itemsize + len(name),
        "identOffset": CODE_DIRECTORY.itemsize,
        "nCodeSlots": -(-len(image) // page),
        "codeLimit": len(image),
        "hashSize": HASH_SIZE,
        "hashType": CS_HASHTYPE_SHA256,
        "pageSize": PAGE_BITS,
        "execSegBase": text_offset,
        "execSegLimit": text_size,
        "execSegFlags": CS_EXECSEG_MAIN_BINARY,
    }
    for field, value in fields.items():
        directory[field] = value
    view = image.data
    hashes = (hashlib.sha256(view[i : i + page]).digest() for i in range(0, len(image), page))
    return b"".join((blob.tobytes(), directory.tobytes(), name, *hashes))
