"""The dyld info codecs: bytes beside what other linkers write, time beside LIEF.

Sizes: one row per program and stream, without padding. Times: the best of several rounds, of
processor time, with the limits that the project keeps; LIEF reads the same streams out of a file
made for that, and writes them into another. It has an object of its own for each entry.

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
ROUNDS, LIEF_ROUNDS = 5, 3

Parts = dict[str, int]  # what LIEF calls rebases, bindings and exports: how many there are
LiefTime = Callable[[Path, Parts], float]

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


def _check(path: Path, config: lief.MachO.ParserConfig, parts: Parts) -> None:
    """Raise RuntimeError unless LIEF finds as many entries in the file as there must be."""
    file = lief.MachO.parse(str(path), config)
    if file is None:
        raise RuntimeError(f"LIEF does not read {path}")
    binary = file.at(0)
    found = {
        "rebases": binary.relocations,
        "bindings": binary.bindings,
        "exports": binary.dyld_info.exports,
    }
    for part, count in parts.items():
        if sum(1 for _ in found[part]) != count:
            raise RuntimeError(f"LIEF does not find {count} {part} in {path}")


def lief_decoding(path: Path, parts: Parts) -> float:
    """Processor time that LIEF takes to read the parts of the file."""
    config = lief.MachO.ParserConfig.quick
    without = best(lambda: lief.MachO.parse(str(path), config))
    for part in parts:
        setattr(config, f"parse_dyld_{part}", True)
    _check(path, config, parts)
    return best(lambda: lief.MachO.parse(str(path), config)) - without


def lief_encoding(path: Path, parts: Parts) -> float:
    """Processor time that LIEF takes to write the parts of the file anew."""
    deep = lief.MachO.ParserConfig.deep
    written = path.with_name("written")

    def write(anew: bool) -> float:
        binary = lief.MachO.parse(str(path), deep).at(0)
        config = lief.MachO.Builder.config_t()
        config.linkedit = anew
        start = time.process_time()
        lief.MachO.Builder.write(binary, str(written), config)
        return time.process_time() - start

    without = min(write(False) for _ in range(LIEF_ROUNDS))
    taken = min(write(True) for _ in range(LIEF_ROUNDS))
    _check(written, deep, parts)
    return taken - without


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

    segments = [int(column["offset"].max()) + 8 for column in (rebases, binds)]
    fixups, trie = {"rebases": REBASES, "bindings": BINDS}, {"exports": EXPORTS}
    rows: list[tuple[str, Callable[[], object], float, LiefTime, Parts]] = [
        (
            f"encode {REBASES:,} rebases, {BINDS:,} binds",
            encode_fixups,
            FIXUP_LIMIT,
            lief_encoding,
            fixups,
        ),
        ("decode them", decode_fixups, FIXUP_LIMIT, lief_decoding, fixups),
        (
            f"encode a trie of {EXPORTS:,} names",
            lambda: exports.encode(*offered),
            TRIE_LIMIT,
            lief_encoding,
            trie,
        ),
        ("decode it", lambda: exports.decode(streams["export"]), TRIE_LIMIT, lief_decoding, trie),
    ]
    kept = True
    for what, work, limit, lief_time, parts in rows:
        taken = best(work)
        kept &= taken <= limit
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "streams"
            held = {
                name: data
                for name, data in streams.items()
                if (name == "export") == (parts is trie)
            }
            path.write_bytes(with_dyld_info(held, segments))
            ratio = lief_time(path, parts) / taken
        print(f"{what:42} {taken:6.3f} s of {limit} s  LIEF takes {ratio:.1f} times as long")
    return kept


def main() -> int:
    """Print both tables; 1 if a limit is broken."""
    smallest = print_sizes()
    print()
    return 0 if print_times() and smallest else 1


if __name__ == "__main__":
    sys.exit(main())
