"""The ad-hoc signature: what Go's linker signs comes out the same when signed again here."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from macho_inputs import go_program

from pielink.formats import macho
from pielink.inspect.macho import read_macho
from pielink.passes.sign import CODE_DIRECTORY, SUPER_BLOB, sign, signature_size


def test_signature_is_the_one_of_go() -> None:
    file = read_macho(go_program("arm64"))
    command = file.first(macho.LINKEDIT_DATA_COMMAND, macho.LC_CODE_SIGNATURE)
    assert command
    theirs = file.range(command["dataoff"], command["datasize"], "signature")
    start = SUPER_BLOB.itemsize + CODE_DIRECTORY.itemsize
    identifier = theirs[start : theirs.index(b"\0", start)].decode()
    text = file.segments[file.segments["segname"] == b"__TEXT"][0]
    image = np.frombuffer(file.data[: command["dataoff"]], np.uint8)
    ours = sign(image, identifier, int(text["fileoff"]), int(text["filesize"]))
    assert ours == theirs


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 12288])
def test_each_page_has_its_hash(size: int) -> None:
    image = np.arange(size, dtype=np.uint64).astype(np.uint8)
    made = sign(image, "größe", 0, 4096)
    assert len(made) == signature_size(size, "größe")
    pages = [image[i : i + 4096].tobytes() for i in range(0, size, 4096)]
    hashes = b"".join(hashlib.sha256(p).digest() for p in pages)
    assert made.endswith("größe".encode() + b"\0" + hashes)
    directory = np.frombuffer(made, CODE_DIRECTORY, 1, SUPER_BLOB.itemsize)[0]
    assert (int(directory["nCodeSlots"]), int(directory["codeLimit"])) == (len(pages), size)
