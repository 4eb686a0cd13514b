"""Every damage of headers, segments, `__LINKEDIT` and symbols is caught by its rule."""

from __future__ import annotations

import pytest
from damages import SDK, damaged, names
from damages_layout import DAMAGES

from pielink.check import check_bytes


@pytest.mark.parametrize("damage", DAMAGES, ids=names(DAMAGES))
def test_damage_is_caught_by_the_rule_that_it_breaks(damage):
    found = check_bytes(damaged(damage), "damaged", SDK)
    assert damage.rule in {failure.rule for failure in found}
    assert all(failure.place and failure.message and failure.remedy for failure in found)
