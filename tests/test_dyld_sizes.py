"""pielink's dyld info is the smallest in every row of the table that `make bench` prints."""

from __future__ import annotations

import pytest
from dyld_sizes import FILES, sizes

LARGE = ("cmd/go", "cmd/compile")


@pytest.mark.parametrize(
    "program",
    [pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in FILES],
)
def test_every_stream_is_the_smallest(program):
    rows = sizes(program)
    assert {"rebase", "bind"} <= {row.stream for row in rows}
    for row in rows:
        # A lazy stream has no choice, a weak one hardly any.
        margin = 0 if row.stream in ("lazy_bind", "weak_bind") else 1
        assert row.ours + margin <= row.theirs, row


@pytest.mark.parametrize(("program", "part"), [("hello", 0.15), ("cmd/gofmt", 0.15)])
def test_rebases_of_go_programs_take_a_fraction_of_what_gos_linker_writes(program, part):
    (row,) = [row for row in sizes(program) if row.stream == "rebase"]
    assert row.ours <= part * row.theirs
