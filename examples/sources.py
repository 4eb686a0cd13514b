"""Fetch the C libraries of the cgo examples: `python examples/sources.py [NAME...]`.

zstd.c and Lua's sources are not kept here. They come, at build time, out of pinned source
distributions on PyPI that carry them: zstandard and lupa. pip checks the distributions' hashes.
What is there already is left alone.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Library:
    """A source distribution, the folder in it whose .c and .h files are wanted, and where to."""

    distribution: str
    version: str
    sha256: str
    folder: str
    target: Path
    left_out: frozenset[str] = frozenset()

    @property
    def stamp(self) -> Path:
        """Return the file that says which version is in `target`."""
        return self.target / ".fetched"


LIBRARIES = {
    "zstd": Library(
        "zstandard",
        "0.23.0",
        "b2d8c62d08e7255f68f7a740bae85b3c9b8e5466baa9cbf7f57f1cde0ac6bc09",
        "zstandard-0.23.0/zstd",
        EXAMPLES / "cgo-zstd/zstd",
    ),
    "lua": Library(
        "lupa",
        "2.4",
        "5300d21f81aa1bd4d45f55e31dddba3b879895696068a3f84cfcb5fd9148aacd",
        "lupa-2.4/third-party/lua54",
        EXAMPLES / "cgo-lua/lua",
        # The interpreter's main, all sources in one, and the tests of Lua itself.
        frozenset(("lua.c", "onelua.c", "ltests.c", "ltests.h")),
    ),
}


def download(library: Library, directory: Path) -> Path:
    """Return the path of the source distribution, fetched by pip into `directory`."""
    requirement = f"{library.distribution}=={library.version} --hash=sha256:{library.sha256}\n"
    (directory / "requirements.txt").write_text(requirement)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--no-binary", ":all:", "--require-hashes", "-r", "requirements.txt"]
    if importlib.util.find_spec("setuptools"):
        command.append("--no-build-isolation")  # pip asks for metadata; nothing is built
    subprocess.run(command, cwd=directory, check=True)
    return next(directory.glob("*.tar.gz"))


def extract(library: Library, archive: Path) -> int:
    """Copy the wanted sources into place; return how many files there are."""
    count = 0
    with tarfile.open(archive) as contents:
        for member in contents.getmembers():
            place = Path(member.name)
            wanted = member.isfile() and str(place.parent) == library.folder
            if wanted and place.suffix in (".c", ".h") and place.name not in library.left_out:
                data = contents.extractfile(member)
                assert data is not None
                (library.target / place.name).write_bytes(data.read())
                count += 1
    return count


def fetch(name: str) -> None:
    """Make sure that the sources of one library are in place."""
    library = LIBRARIES[name]
    wanted = f"{library.distribution} {library.version}"
    if library.stamp.exists() and library.stamp.read_text() == wanted:
        return
    with tempfile.TemporaryDirectory() as scratch:
        count = extract(library, download(library, Path(scratch)))
    if not count:
        raise SystemExit(f"{wanted} holds no sources in {library.folder}")
    library.stamp.write_text(wanted)
    print(f"{name}: {count} files out of {wanted}")


if __name__ == "__main__":
    for each in sys.argv[1:] or LIBRARIES:
        fetch(each)
