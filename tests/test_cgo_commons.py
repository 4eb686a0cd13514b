"""C variables that several files declare and none initializes, used by C and by Go."""

from __future__ import annotations

from pathlib import Path

from emulator_programs import pielink_run
from go_inputs import go_inputs

from pielink.check import check

CASES = Path(__file__).parent / "cases"


def test_common_symbols_are_one_variable(tmp_path: Path) -> None:
    inputs = go_inputs(CASES / "cgo_commons", cgo=True)
    program = inputs.link_with_pielink(("-verify",), tmp_path / "program")
    assert check(program) == []
    ran = pielink_run(program)
    assert (ran.out, ran.status) == ("5 120 5 1\n", 0), ran.err
