"""Files in one flat array."""

from __future__ import annotations

import random
from pathlib import Path

from pielink.formats.flatmap import GRANULE, FlatFiles, padded


def test_released_files_read_the_same_and_what_follows_them_stays(tmp_path: Path) -> None:
    rng = random.Random(1)
    contents = [rng.randbytes(size) for size in (0, 5, GRANULE, 3 * GRANULE + 17)]
    flat = FlatFiles(sum(padded(len(content)) for content in contents) + GRANULE)
    places = []
    for number, content in enumerate(contents):
        path = tmp_path / str(number)
        path.write_bytes(content)
        places.append(flat.place(str(path)))
    made = rng.randbytes(100)
    flat.bytes[flat.used : flat.used + 100] = memoryview(made)
    for _ in range(2):
        assert [bytes(flat.view[at : at + size]) for at, size in places] == contents
        assert not flat.bytes[places[1][0] + 5 : places[2][0]].any()
        flat.release()
    assert flat.view[flat.used : flat.used + 100] == made
