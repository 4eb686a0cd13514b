"""`pielink link`: links Go archives; takes the flags of `go tool link`."""

from __future__ import annotations

import os
import sys

from pielink.golang.flags import link_options, parse_flags, usage
from pielink.identity import identity
from pielink.options import BuildConfig, LinkOptions


def main(argv: list[str]) -> int:
    """Run one link; UsageError and LinkError go to the caller."""
    parsed = parse_flags(argv)
    if parsed.help:
        print(usage())
        return 0
    if parsed.values.get("V"):
        print(f"link version {identity()}")
        return 0
    return run(link_options(parsed, BuildConfig.from_environment()))


def run(options: LinkOptions) -> int:
    """Link as `options` say; the exit status."""
    # No pass multiplies matrices: starting BLAS threads would only cost time, and must be
    # prevented before NumPy is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from pielink.pipeline import link

    link(options)
    sys.stdout.flush()
    return 0
