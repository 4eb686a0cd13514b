"""`pielink link`: links Go archives; takes the flags of `go tool link`."""

from __future__ import annotations

import os

import pielink
from pielink.golang.flags import link_options, parse_flags, usage
from pielink.options import BuildConfig, LinkOptions


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
    pielink.link(options)
    return 0
