"""Every damage of entry point, initializers, thread-locals, signature, fat header is caught."""

from __future__ import annotations

import pytest
from damages import SDK, damaged, names
from damages_code import DAMAGES

from pielink.check import check_bytes


@pytest.mark.parametrize("damage", DAMAGES, ids=names(DAMAGES))
def test_damage_is_caught_by_the_rule_that_it_breaks(damage):
    found = check_bytes(damaged(damage), "damaged", SDK)
    assert damage.rule in {failure.rule for failure in found}
