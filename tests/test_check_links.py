"""What pielink links keeps every rule, for SDK 26, in each form of output."""

from __future__ import annotations

import pytest
from go_inputs import go_inputs

from pielink.check import check
from pielink.inspect import compare, read_macho

FORMS = {
    "plain": (),
    "stripped": ("-s",),
    "not-pie": ("-buildmode=exe",),
    "lazy": ("-bind=lazy",),
    "chained": ("-dyldinfo=chained", "-macos=12.0"),
    "exports": ("-export-dynamic",),
    "older-stamp": ("-macos=11.0", "-macsdk=11.0"),
}


@pytest.mark.parametrize("form", FORMS)
def test_linked_program_keeps_the_rules(form, tmp_path):
    output = go_inputs("hello").link_with_pielink(FORMS[form], tmp_path / "hello")
    assert check(output) == []
    assert check(output, "26.0") == []


def test_linked_program_differs_from_gos_only_on_purpose(tmp_path):
    inputs = go_inputs("hello")
    ours = read_macho(inputs.link_with_pielink((), tmp_path / "hello"))
    found = compare(read_macho(inputs.reference()), ours)
    assert [str(d) for d in found if not d.deliberate] == []
    assert found
