"""The command's own finder of modules: what it imports is what Python would import."""

from __future__ import annotations

import compileall
import os
import py_compile
import subprocess
import sys
from pathlib import Path

import pytest
from go_inputs import go_inputs

import pielink

ABOUT = """
def about(names):
    for name in sorted(names):
        module = sys.modules[name]
        spec = module.__spec__
        print(name, module.__file__, module.__cached__, module.__package__, spec.name, spec.origin)
        print(spec.parent, spec.cached, spec.has_location, hasattr(module, "__path__"))
        code = spec.loader.get_code(name)
        print(spec.loader.path, code.co_filename, len(code.co_consts), code.co_names, code.co_code)
"""


def run(code: str, *argv: str) -> str:
    command = [sys.executable, "-c", code, *argv]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_modules_of_a_link_are_as_python_imports_them(tmp_path: Path) -> None:
    code = f"""
import importlib, sys
from pielink import cli
{ABOUT}
cli.owns_process = True
assert cli.main(["link", *sys.argv[1:]]) == 0
specs = [(name, getattr(module, "__spec__", None)) for name, module in sys.modules.items()]
names = [name for name, spec in specs if spec and type(spec.loader).__name__ == "_Compiled"]
sys.stdout.flush()
about(names)
"""
    # Some environments tell Python to keep no compiled code.
    compileall.compile_dir(Path(pielink.__file__).parent, quiet=2)
    mine = run(code, *go_inputs("hello").link_argv(tmp_path / "out"))
    names = [line.split(" ")[0] for line in mine.splitlines()[::3]]
    assert {"pielink.pipeline", "pielink.passes.reach", "numpy._core.overrides"} <= set(names)
    plain = (
        f"import importlib, sys\n{ABOUT}\nfor name in sys.argv[1:]: importlib.import_module(name)"
    )
    assert run(f"{plain}\nabout(sys.argv[1:])", *names) == mine


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A module, compiled, in the place of one of NumPy's: numpy.some."""
    folder = tmp_path / "numpy"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "some.py").write_text("value = 1\n")
    py_compile.compile(str(folder / "some.py"), doraise=True)
    return folder


def imported(package: Path) -> str:
    code = "import sys; sys.path.insert(0, sys.argv[1]); from pielink import lean_import"
    code += "; lean_import.install(); from numpy import some"
    code += "; print(some.value, type(some.__spec__.loader).__name__)"
    return run(code, str(package.parent)).strip()


def test_compiled_code_is_taken_as_it_is(package: Path) -> None:
    assert imported(package) == "1 _Compiled"


def test_compiled_code_of_another_source_is_not_taken(package: Path) -> None:
    (package / "some.py").write_text("value = 2000\n")
    assert imported(package) == "2000 SourceFileLoader"
    source = package / "some.py"
    at = source.stat().st_mtime
    source.write_text("value = 3000\n")
    os.utime(source, (at + 2, at + 2))
    assert imported(package) == "3000 SourceFileLoader"


@pytest.mark.parametrize("damage", ["cut", "flags", "none"])
def test_compiled_code_of_another_kind_is_left_to_python(package: Path, damage: str) -> None:
    (compiled,) = (package / "__pycache__").iterdir()
    if damage == "none":
        compiled.unlink()
    elif damage == "cut":
        compiled.write_bytes(compiled.read_bytes()[:9])
    else:
        mode = py_compile.PycInvalidationMode.CHECKED_HASH
        py_compile.compile(str(package / "some.py"), invalidation_mode=mode, doraise=True)
    assert imported(package) == "1 SourceFileLoader"
