"""Which linker this is, exactly: for cache keys and bug reports."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pielink.version import __version__


def identity() -> str:
    """pielink's version and a hash of its code.

    No other linker, and no other state of this one, has the same.
    """
    package = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return f"pielink/{__version__}-{digest.hexdigest()[:12]}"
