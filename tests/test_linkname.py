"""The check of linknames: what it does not look at one by one is allowed by the rules."""

from __future__ import annotations

import numpy as np
import pytest
from go_inputs import go_inputs

from pielink.golang import linkname
from pielink.options import LinkOptions
from pielink.passes.read import read
from pielink.passes.resolve import resolve
from pielink.program import Program
from pielink.tables import BLOCK_NONPKG_DEF


def program(release: str) -> Program:
    """A real program, read and resolved."""
    inputs = go_inputs("hello", release)
    options = LinkOptions(
        main=str(inputs.main_archive), output="unused", importcfg=str(inputs.importcfg)
    )
    return resolve(read(options), options)


def allowed(of: Program, slot: int) -> bool:
    """What the rules say of one reference."""
    name, package = of.name(slot), of.objects.package[of.slots.object[slot]]
    if of.slots.block[slot] == BLOCK_NONPKG_DEF and b"." not in name:
        return True
    return linkname._allowed(of, slot, name, package)


@pytest.mark.parametrize("release", ["1.26.6", "1.27.3"])
def test_what_is_not_looked_at_is_allowed(release: str) -> None:
    made = program(release)
    rng = np.random.default_rng(5)
    flags2, flags = made.slots.flags2.copy(), made.objects.flags.copy()
    refused = 0
    for _ in range(6):
        made.slots.flags2[:] = flags2 ^ (rng.integers(0, 256, len(flags2)) & 0x30)
        made.objects.flags[:] = flags ^ (rng.integers(0, 2, len(flags)) * 16)
        pulls = linkname._pulls(made)
        doubtful = set(linkname._doubtful(made, pulls).tolist())
        assert doubtful <= set(pulls.tolist())
        refusals = {slot for slot in pulls.tolist() if not allowed(made, slot)}
        assert refusals <= doubtful
        refused += len(refusals)
    assert refused > 100
