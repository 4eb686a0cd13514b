"""The dyld info codecs: bytes beside what other linkers write, time beside LIEF.

Sizes: one row per program and stream, without padding. Times: the best of several rounds, of
processor time, with the limits that the project keeps; LIEF reads the same streams out of a file
made for that, and also makes its own objects of what it reads.

example: PYTHONPATH=tests python -m benchmarks.bench_dyld
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import lief
import numpy as np
from dyld_sizes import FILES, sizes
from go_inputs import go_inputs
from reference.dyld_image import with_dyld_info

from pielink.dyld import BIND, EXPORT, REBASE, bind, exports, image, rebase
from pielink.dyld.columns import Rows

REBASES, BINDS, SYMBOLS, EXPORTS = 1_000_000, 100_000, 20_000, 100_000
FIXUP_LIMIT, TRIE_LIMIT = 0.15, 0.5  # seconds
ROUNDS = 5

lief.logging.disable()


def best(work: Callable[[], object]) -> float:
    """Seconds of processor time that the fastest of several rounds takes."""
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def many_rebases() -> Rows:
    """The rebases of cmd/compile, behind one another until there are REBASES."""
    path = go_inputs("cmd/compile").reference()
    (file,) = image.read(path.read_bytes(), str(path))
    address = np.sort(file.addresses(file.rebases))
    place = address - address[0]
    copies = -(-REBASES // len(place))
    many = np.zeros(REBASES, REBASE)
    many["segment"] = many["type"] = 1
    starts = np.arange(copies, dtype=np.uint64) * (place[-1] + np.uint64(4096))
    many["offset"] = (starts[:, None] + place).reshape(-1)[:REBASES]
    return many


def many_binds() -> tuple[Rows, list[bytes]]:
    """Binds as large C++ programs have them: a table of pointers, and virtual tables."""
    rng = np.random.default_rng(1)
    rows = np.zeros(BINDS, BIND)
    rows["segment"], rows["type"] = 2, 1
    rows["name"] = np.append(np.arange(SYMBOLS), rng.integers(0, SYMBOLS, BINDS - SYMBOLS))
    rows["ordinal"] = 1 + rows["name"] % 40
    rows["addend"][rows["name"] % 50 == 0] = 16
    rows["offset"] = 8 * np.cumsum(np.append(np.ones(SYMBOLS), rng.integers(1, 9, BINDS - SYMBOLS)))
    return rows, [b"__ZN7project6module5Class%dEv" % n for n in range(SYMBOLS)]


def many_exports() -> tuple[Rows, list[bytes]]:
    """Names that share beginnings, as mangled names do."""
    rng = np.random.default_rng(2)
    names = [
        b"__ZN%d%s%d%sEv" % (package, b"package" * (package % 3 + 1), symbol, b"x" * (symbol % 20))
        for symbol, package in enumerate(rng.integers(0, 200, EXPORTS).tolist())
    ]
    rows = np.zeros(EXPORTS, EXPORT)
    rows["name"] = np.arange(EXPORTS)
    rows["address"] = rng.integers(0, 1 << 27, EXPORTS)
    rows["import_name"] = exports.NO_NAME
    return rows, names


def _entries(binary: lief.MachO.Binary, part: str) -> int:
    if part == "exports":
        return sum(1 for _ in binary.dyld_info.exports)
    return sum(1 for _ in (binary.relocations if part == "rebases" else binary.bindings))


def lief_time(streams: dict[str, bytes], sizes: list[int], part: str, count: int) -> float:
    """Processor time that LIEF takes for one part of a file that holds the streams.

    sizes: of the segments in bytes; count: how many entries LIEF must find.
    """
    config = lief.MachO.ParserConfig.quick
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "streams"
        path.write_bytes(with_dyld_info(streams, sizes))
        without = best(lambda: lief.MachO.parse(str(path), config))
        setattr(config, f"parse_dyld_{part}", True)
        found = lief.MachO.parse(str(path), config)
        if found is None or _entries(found.at(0), part) != count:
            raise RuntimeError(f"LIEF does not find {count} {part}")
        return best(lambda: lief.MachO.parse(str(path), config)) - without


def print_sizes() -> bool:
    """The table of sizes; whether pielink's are the smallest in every row."""
    print(f"{'program':12} {'linker':9} {'stream':10} {'entries':>8} {'bytes each':>21}  ratio")
    smallest = True
    for program in FILES:
        for row in sizes(program):
            smallest &= row.ours <= row.theirs
            each = f"{row.theirs / row.entries:10.3f} {row.ours / row.entries:10.3f}"
            print(
                f"{row.program:12} {row.linker:9} {row.stream:10} {row.entries:8} {each}"
                f"  {row.ours / row.theirs:.3f}"
            )
    return smallest


def print_times() -> bool:
    """The times and their limits; whether all are kept."""
    rebases, (binds, names), offered = many_rebases(), many_binds(), many_exports()
    streams = {
        "rebase": rebase.encode(rebases),
        "bind": bind.encode(binds, names),
        "export": exports.encode(*offered),
    }

    def encode_fixups() -> None:
        rebase.encode(rebases)
        bind.encode(binds, names)

    def decode_fixups() -> None:
        rebase.decode(streams["rebase"])
        bind.decode(streams["bind"])

    rows: list[tuple[str, Callable[[], object], float, tuple[tuple[str, int], ...]]] = [
        ("encode 1,000,000 rebases, 100,000 binds", encode_fixups, FIXUP_LIMIT, ()),
        (
            "decode them",
            decode_fixups,
            FIXUP_LIMIT,
            (("rebases", REBASES), ("bindings", BINDS)),
        ),
        ("encode a trie of 100,000 names", lambda: exports.encode(*offered), TRIE_LIMIT, ()),
        (
            "decode it",
            lambda: exports.decode(streams["export"]),
            TRIE_LIMIT,
            (("exports", EXPORTS),),
        ),
    ]
    segments = [int(column["offset"].max()) + 8 for column in (rebases, binds)]
    kept = True
    for what, work, limit, parts in rows:
        taken = best(work)
        kept &= taken <= limit
        line = f"{what:42} {taken:6.3f} s of {limit} s"
        if parts:
            theirs = sum(lief_time(streams, segments, *part) for part in parts)
            line += f"  LIEF takes {theirs / taken:.1f} times as long"
        print(line)
    return kept


def main() -> int:
    """Print both tables; 1 if a limit is broken."""
    smallest = print_sizes()
    print()
    return 0 if print_times() and smallest else 1


if __name__ == "__main__":
    sys.exit(main())
