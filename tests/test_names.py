"""Names by hash and key: the array passes against their plain twins, and the index."""

from __future__ import annotations

import random

import numpy as np
from reference import names as plain

from pielink.names import NameIndex, groups, hashes, key, keys, ranks, words_at
from pielink.tables import Memory


def random_names(rng: random.Random, count: int) -> list[bytes]:
    sizes = [*range(1, 40), 63, 64, 65, 1336]
    return [rng.randbytes(rng.choice(sizes)) for _ in range(count)]


def placed(rng: random.Random, names: list[bytes]) -> tuple[Memory, np.ndarray, np.ndarray]:
    """The names at random distances: (memory, offset, size)."""
    memory = Memory(np.zeros(1 << 18, np.uint8), 0)
    offset = []
    for name in names:
        memory.add(rng.randbytes(rng.randrange(9)), 1)
        offset.append(memory.add(name, 1))
    return memory, np.array(offset, np.int64), np.array([len(n) for n in names], np.uint32)


def test_hashes_and_keys_equal_their_plain_twins() -> None:
    rng = random.Random(7)
    for count in (0, 1, 300):
        names = random_names(rng, count)
        memory, offset, size = placed(rng, names)
        version = np.array([rng.choice((0, 1)) for _ in names], np.uint16)
        wanted = [plain.hashed(n, v) for n, v in zip(names, version.tolist(), strict=True)]
        assert hashes(memory, offset, size, version).tolist() == wanted
        pairs = list(zip(names, version.tolist(), strict=True))
        wanted = [plain.key(*pair) for pair in pairs]
        assert keys(memory, offset, size, version).tolist() == wanted
        assert [key(*pair) for pair in pairs] == wanted


def test_groups_are_those_of_a_dictionary() -> None:
    rng = random.Random(11)
    names = random_names(rng, 300) * 2
    # The keys of these agree: they differ in their first byte alone.
    names += [bytes([rng.choice(b"ab")]) + b"c" * size for size in range(16, 60) for _ in range(3)]
    rng.shuffle(names)
    memory, offset, size = placed(rng, names)
    version = np.array([rng.choice((0, 1)) for _ in names], np.uint16)
    first: dict[tuple[bytes, int], int] = {}
    wanted = [first.setdefault(p, i) for i, p in enumerate(zip(names, version, strict=True))]
    columns = offset, size, version
    key = keys(memory, *columns)
    assert len(set(key.tolist())) < len(first)
    assert groups(memory, key, *columns).tolist() == wanted
    for some in (0, 1):
        few = [column[:some] for column in (key, *columns)]
        assert groups(memory, *few).tolist() == [*range(some)]


def test_ranks_are_in_the_order_of_the_texts() -> None:
    rng = random.Random(10)
    texts = [b"", b"\0", b"a", b"a\0", *random_names(rng, 200)]
    texts += [bytes(rng.choices(b"\0ab\xff", k=rng.randrange(40))) for _ in range(400)]
    texts += [text + b"x" * rng.randrange(3) for text in texts]
    memory, offset, size = placed(rng, texts)
    order = sorted(texts)
    wanted = [order.index(text) for text in texts]
    assert ranks(memory, offset, size.astype(np.int64)).tolist() == wanted
    assert ranks(memory, offset[:0], size[:0].astype(np.int64)).tolist() == []


def test_words_begin_at_every_byte() -> None:
    content = random.Random(8).randbytes(64)
    memory = Memory(np.frombuffer(content, np.uint8), 64)
    wanted = [int.from_bytes(content[at : at + 8], "little") for at in range(56)]
    assert words_at(memory, np.arange(56)).tolist() == wanted


def test_the_index_finds_each_name_of_each_version() -> None:
    rng = random.Random(9)
    names = sorted(set(random_names(rng, 2000)))
    memory, offset, size = placed(rng, names)
    version = np.array([rng.choice((0, 1)) for _ in names], np.uint16)
    slot = np.arange(1, len(names) + 1, dtype=np.int32)
    index = NameIndex(memory, slot, keys(memory, offset, size, version), offset, size, version)
    pairs = list(zip(names, version.tolist(), strict=True))
    assert index.lookup(pairs).tolist() == slot.tolist()
    assert [index.find(*pair) for pair in pairs] == slot.tolist()
    assert not index.lookup([(name, 1 - v) for name, v in pairs]).any()
    assert not any(index.find(name, 1 - v) for name, v in pairs)
    assert index.lookup([(b"", 0), (b"nobody", 0)]).tolist() == [0, 0]
