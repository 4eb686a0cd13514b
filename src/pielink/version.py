"""Who links: the version of pielink, as people and as the go command want to read it."""

from __future__ import annotations

import hashlib
from pathlib import Path

__version__ = "0.1.0"


def link_version(go_version: str = "") -> str:
    """The line of `link -V`; with `go_version` ("go1.27.3") in the form the go command accepts.

    cmd/go/internal/work/buildid.go (toolID) wants "link version VERSION ..." and makes the whole
    line part of the cache key.
    """
    return f"link version {go_version} {identity()}" if go_version else f"link version {identity()}"


def identity() -> str:
    """pielink's version and a hash of its code: another linker, or another state of this one,
    never has the same."""
    package = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return f"pielink/{__version__}-{digest.hexdigest()[:12]}"
