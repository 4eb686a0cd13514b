"""`pielink build` and `pielink toolexec`: go build with the link done by pielink."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from go_inputs import EXAMPLES, RELEASE, go_environment, goroot

from pielink.cli import build, main, toolexec
from pielink.errors import PielinkError
from pielink.golang import ccompiler
from pielink.identity import identity

TOOLEXEC = f'-toolexec="{sys.executable}" -m pielink toolexec'


def tool(name: str) -> str:
    return str(next((goroot() / "pkg" / "tool").glob(f"*/{name}")))


def run(*argv: str, cwd: Path = EXAMPLES, **environ: str) -> subprocess.CompletedProcess[str]:
    environment = go_environment() | {"PATH": f"{goroot() / 'bin'}:{os.environ['PATH']}"} | environ
    return subprocess.run(
        argv, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def pielink(*argv: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-m", "pielink", *argv, **environ)


def test_toolexec_runs_other_tools_as_they_are() -> None:
    done = pielink("toolexec", tool("compile"), "-V=full")
    assert (done.returncode, done.stdout) == (0, f"compile version go{RELEASE}\n")
    assert pielink("toolexec", tool("compile"), "-nosuch").returncode == 2


def test_toolexec_names_a_tool_that_cannot_run() -> None:
    done = pielink("toolexec", "/nonexistent/compile")
    assert done.returncode == 1
    assert done.stderr == (
        "pielink toolexec: cannot run /nonexistent/compile: No such file or directory\n"
    )


def test_the_linker_identity_is_pielinks_own() -> None:
    done = pielink("toolexec", tool("link"), "-V=full")
    assert done.stdout == f"link version go{RELEASE} {identity()}\n"


def test_the_identity_follows_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pielink.identity.__file__", str(tmp_path / "identity.py"))
    (tmp_path / "a.py").write_text("1")
    first = identity()
    (tmp_path / "a.py").write_text("2")
    assert identity() != first


def test_a_development_version_of_go_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.write_text("#!/bin/sh\necho link version devel go1.28-abc buildID=x/y\n")
    link.chmod(0o755)
    with pytest.raises(PielinkError, match=r"is no release of Go .*use Go 1\.26 or 1\.27"):
        toolexec.main([str(link), "-V=full"])


def test_toolexec_refuses_another_target() -> None:
    done = pielink("toolexec", tool("link"), "-o", "x", "main.a", GOOS="linux")
    assert done.returncode == 2
    assert "pielink links for darwin/amd64, not for linux/amd64" in done.stderr


def test_build_help_and_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "--help"]) == 0
    assert "example:" in capsys.readouterr().out
    assert main(["build", "-toolexec=x", "."]) == 2
    assert "-toolexec is what pielink build sets" in capsys.readouterr().err
    assert main(["toolexec"]) == 2
    assert main(["toolexec", "--help"]) == 0


def test_build_keeps_flags_in_order_and_c_first() -> None:
    command = build.go_command(["-C", "dir", "-o", "x", "-ldflags", "-s -w", "./p"])
    assert command[1:4] == ["build", "-C", "dir"]
    assert command[5:] == ["-o", "x", "-ldflags", "-s -w", "./p"]
    assert build.go_command(["-C=dir"])[2] == "-C=dir"


def test_build_targets_darwin_amd64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOS", "linux")
    monkeypatch.delenv("GOARCH", raising=False)
    environment = build.go_environment()
    assert (environment["GOOS"], environment["GOARCH"]) == ("darwin", "amd64")


def test_without_go_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PielinkError, match=r"install Go 1\.26 or 1\.27"):
        build.find_go()


def test_the_go_of_the_virtual_environment_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert build.find_go() == str(goroot() / "bin" / "go")


def test_cc_is_taken_out_and_turns_cgo_on() -> None:
    assert build.take_cc(["-o", "x", "--cc", "zig cc", "."]) == ("zig cc", ["-o", "x", "."])
    assert build.take_cc(["--cc=clang", "."]) == ("clang", ["."])
    environment = build.go_environment("clang -target x")
    assert (environment["CC"], environment["CGO_ENABLED"]) == ("clang -target x", "1")
    assert main(["build", "--cc"]) == 2


def test_cgo_finds_a_compiler_and_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("CGO_ENABLED", "1")
    environment = build.go_environment()
    assert environment["CC"].endswith("cc -target x86_64-macos")
    assert environment["CXX"].endswith("c++ -target x86_64-macos")
    assert f"the C compiler is {environment['CC']}" in capsys.readouterr().err


def test_a_given_cc_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "my-cc")
    monkeypatch.setenv("CGO_ENABLED", "1")
    assert build.go_environment()["CC"] == "my-cc"


def test_without_a_c_compiler_the_error_says_what_was_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = ccompiler.Compiler(("false",), ("false",))
    monkeypatch.setattr(ccompiler, "candidates", lambda: iter([broken]))
    with pytest.raises(PielinkError, match=r"do not compile for x86_64-macos: false.*--cc"):
        ccompiler.find_compiler()


def test_compiler_words_are_quoted_for_the_go_command() -> None:
    assert ccompiler.quoted(("/a b/zig", "cc", "it's")) == "'/a b/zig' cc \"it's\""
