"""Compile single packages with `go tool compile` and `go tool asm`, without the go command.

The go command would refuse much of what a linker must refuse too; here sources become archives
as they are. Packages of the standard library come from the importcfg of a caught link step.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from go_inputs import GoInputs, goroot
from goobj_edit import join, member, split


class Workshop:
    """A folder of compiled packages on top of the packages of `base`."""

    def __init__(self, base: GoInputs, folder: Path) -> None:
        self.base, self.folder = base, folder
        self.packages = dict(
            line.removeprefix("packagefile ").split("=", 1)
            for line in base.importcfg.read_text().splitlines()
            if line.startswith("packagefile ")
        )
        self.main = base.main_archive
        self.lines: list[str] = []  # further lines of the importcfg, as they are

    def importcfg(self) -> Path:
        """An importcfg that names all packages as they are now."""
        path = self.folder / "importcfg"
        lines = [f"packagefile {name}={file}" for name, file in self.packages.items()]
        path.write_text("\n".join([*lines, *self.lines]) + "\n")
        return path

    def compile(
        self, package: str, source: str, assembly: str = "", *, extra: tuple[str, ...] = ()
    ) -> Path:
        """Compile one package and note where it is; return the archive. "main" is the program."""
        work = self.folder / f"{package.replace('/', '%')}-{len(list(self.folder.iterdir()))}"
        work.mkdir()
        (work / "package.go").write_text(source)
        archive = work / "package.a"
        flags = ["-p", package, "-pack", "-importcfg", str(self.importcfg()), *extra]
        if assembly:
            (work / "package.s").write_text(assembly)
            self._tool(work, "asm", "-p", package, "-gensymabis", "-o", "symabis", "package.s")
            flags += ["-symabis", "symabis"]
        self._tool(work, "compile", *flags, "-o", str(archive), "package.go")
        if assembly:
            self._tool(work, "asm", "-p", package, "-o", "package.o", "package.s")
            assembled = member("package.o", (work / "package.o").read_bytes())
            archive.write_bytes(join([*split(archive.read_bytes()), assembled]))
        self.put(package, archive)
        return archive

    def put(self, package: str, archive: Path | bytes) -> Path:
        """Let an archive (a file, or the bytes of one) stand for a package."""
        if isinstance(archive, bytes):
            path = self.folder / f"{package.replace('/', '%')}-{len(archive)}.a"
            path.write_bytes(archive)
            archive = path
        if package == "main":
            self.main = archive
        else:
            self.packages[package] = str(archive)
        return archive

    def path(self, package: str) -> Path:
        """The archive of a package."""
        return self.main if package == "main" else Path(self.packages[package])

    def link_argv(self, output: Path | str, *flags: str) -> list[str]:
        """The arguments of a linker that takes the flags of `go tool link`."""
        config = str(self.importcfg())
        build = ("-buildmode=pie", "-w")
        return ["-o", str(output), "-importcfg", config, *build, *flags, str(self.main)]

    def _tool(self, work: Path, tool: str, *argv: str) -> None:
        root = goroot(self.base.release)
        command = [str(root / "bin" / "go"), "tool", tool, "-trimpath", str(work), *argv]
        environment = self.base.tool_environment()
        done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
