"""Host objects for tests: compiled for macOS by the pinned zig, and kept under .cache/."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CACHE = Path(__file__).resolve().parent.parent / ".cache"
ZIG = (sys.executable, "-m", "ziglang")
TARGET = ("-target", "x86_64-macos")


# Flags of ld64.lld for a dylib that leaves open names to be looked up at run time.
DYLIB = ("-dylib", "-undefined", "dynamic_lookup", "-no_fixup_chains")


def _run(argv: list[str], cwd: Path) -> None:
    environment = os.environ | {
        "ZIG_GLOBAL_CACHE_DIR": str(CACHE / "zig"),
        "ZIG_LOCAL_CACHE_DIR": str(CACHE / "zig"),
    }
    done = subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}\n{done.stderr}")


def _cached(key: tuple[str, ...], suffix: str, make: object) -> Path:
    """Return the file that `make(directory) -> Path` gives, made once for each key."""
    digest = hashlib.sha256("\0".join(key).encode()).hexdigest()[:24]
    place = CACHE / "host" / f"{digest}{suffix}"
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
            made = make(Path(scratch))  # type: ignore[operator]
            os.replace(made, place)
    return place


def compile_object(source: str, extension: str = ".c", *flags: str) -> Path:
    """Compile source text (.c, .cc, .m, .s) for darwin/amd64; return the object's path."""

    def make(scratch: Path) -> Path:
        (scratch / f"input{extension}").write_text(source)
        driver = "c++" if extension in (".cc", ".mm") else "cc"
        argv = [
            *ZIG,
            driver,
            *TARGET,
            "-g0",
            "-fno-sanitize=undefined",
            *flags,
            "-c",
            f"input{extension}",
            "-o",
            "out.o",
        ]
        _run(argv, scratch)
        return scratch / "out.o"

    return _cached(("compile 2", source, extension, *flags), ".o", make)


def archive(form: str, *members: Path, names: tuple[str, ...] = (), index: bool = True) -> Path:
    """Archive objects with `zig ar --format=FORM` (bsd, darwin, gnu); return the path."""
    names = names or tuple(f"member{i}.o" for i in range(len(members)))

    def make(scratch: Path) -> Path:
        for member, name in zip(members, names, strict=True):
            shutil.copy(member, scratch / name)
        verb = "qc" if index else "qcS"
        _run([*ZIG, "ar", f"--format={form}", verb, "out.a", *names], scratch)
        return scratch / "out.a"

    return _cached(("archive", form, str(index), *names, *map(str, members)), ".a", make)


def link(linker: str, *objects: Path, flags: tuple[str, ...] = ()) -> Path:
    """Link objects into an executable by another linker: "zig", or the path of ld64.lld."""

    def make(scratch: Path) -> Path:
        if linker == "zig":
            argv = [*ZIG, "cc", *TARGET, *map(str, objects), *flags, "-o", "out"]
        else:
            argv = [linker, "-arch", "x86_64", "-platform_version", "macos", "13.0", "13.0"]
            # ld64.lld 19 does not know the newest of the targets that the stub lists.
            stub = re.sub(r"arm64e\.x1-\w+,?", "", libsystem_stub().read_text())
            (scratch / "libSystem.tbd").write_text(stub)
            argv += [*map(str, objects), "libSystem.tbd", *flags, "-o", "out"]
        _run(argv, scratch)
        return scratch / "out"

    return _cached(("link", linker, *flags, *map(str, objects)), ".exe", make)


def libsystem_stub() -> Path:
    """Return the text stub of libSystem that comes with zig."""
    import ziglang

    return Path(ziglang.__file__).parent / "lib/libc/darwin/libSystem.tbd"


def lld() -> str | None:
    """Return the path of ld64.lld, or None where it is not installed."""
    return shutil.which("ld64.lld") or shutil.which("ld64.lld-19")
