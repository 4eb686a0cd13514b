"""What a C++ compiler brings along for its programs: the static libc++ of zig.

`zig c++` links libc++ and libc++abi statically, from archives that it builds once and keeps in its
cache. It names them when it is asked to show the link (-v). Other compilers rely on macOS's own
libc++.1.dylib.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pielink.errors import LinkError, Problem

ARCHIVES = ("libc++.a", "libc++abi.a")
PROBE = "#include <new>\nint main() { delete new int; }\n"


def cxx_archives(compiler: Sequence[str]) -> list[Path]:
    """Return the static C++ library that `compiler` (a command, with -target) links, or [].

    The first call for a target can take a minute, in which zig builds the library. Raises
    LinkError when the compiler cannot be run or fails.
    """
    import subprocess  # rarely needed, and slow to import
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "probe.cc"
        source.write_text(PROBE)
        command = [*compiler, "-v", source.name, "-o", "probe"]
        try:
            done = subprocess.run(
                command, cwd=scratch, capture_output=True, text=True, stdin=subprocess.DEVNULL
            )
        except OSError as error:
            why = f"cannot run the C++ compiler: {error.strerror}"
            raise LinkError([Problem(why, compiler[0])]) from None
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "error" in line]
            why = lines[0] if lines else f"exit status {done.returncode}"
            raise LinkError([Problem(f"the C++ compiler fails: {why}", compiler[0])])
    words = [Path(word.strip('"')) for word in (done.stderr + done.stdout).split()]
    found = {path.name: path for path in words if path.name in ARCHIVES and path.is_file()}
    return [found[name] for name in ARCHIVES if name in found]
