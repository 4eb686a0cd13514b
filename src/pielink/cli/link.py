"""`pielink link`: links Go archives; takes the flags of `go tool link`."""

from __future__ import annotations

import gc
import os

import pielink
from pielink import cli, heap, lean_numpy
from pielink.golang.flags import link_options, parse_flags, usage
from pielink.hints import TYPE_CHECKING
from pielink.options import BuildConfig, LinkOptions

if TYPE_CHECKING:
    from pielink.pipeline import LinkResult


def main(argv: list[str]) -> int:
    """Run one link; UsageError and LinkError go to the caller."""
    parsed = parse_flags(argv)
    if parsed.help:
        print(usage())
        return 0
    if parsed.values.get("V"):
        from pielink.identity import identity

        print(f"link version {identity()}")
        return 0
    return run(link_options(parsed, BuildConfig.from_environment()))


def run(options: LinkOptions) -> int:
    """Link as `options` say; the exit status."""
    # No pass multiplies matrices: BLAS threads would only cost time. This must come before NumPy is
    # imported, which pielink.link does.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # A link makes many objects and no cycles worth collecting; the collector would cost a twentieth
    # of its time.
    gc.disable()
    if cli.owns_process:
        heap.prepare()
        lean_numpy.install()
    try:
        result = pielink.link(options)
    finally:
        gc.enable()
    if options.verbose:
        print("\n".join(trace(options, result)))
    if options.benchmark:
        print("\n".join(benchmark(result, options.benchmark)))
    return 0


def trace(options: LinkOptions, result: LinkResult) -> list[str]:
    """What -v prints, one fact a line."""
    table = "off" if options.strip_symbols else "on"
    dylibs = ", ".join(result.imports.dylibs)
    return [
        f"build mode: {options.build_mode}, symbol table: {table}",
        f"{len(result.symbols)} symbols, {len(result.relocs)} relocations",
        f"{len(result.fixups.rebase_address)} rebases, {len(result.fixups.bind_address)} binds",
        f"dylibs: {dylibs}",
    ]


def benchmark(result: LinkResult, kind: str) -> list[str]:
    """What -benchmark prints: a line per pass, in the format of Go's benchmarks."""
    if kind == "mem":
        peaks = result.peak_memory.items()
        return [f"Benchmark{name.capitalize()} 1 {peak} peak-B" for name, peak in peaks]
    rows = {**result.timings, "total time": sum(result.timings.values())}
    return [
        f"Benchmark{name.title().replace(' ', '')} 1 {int(seconds * 1e9)} ns/op"
        for name, seconds in rows.items()
    ]
