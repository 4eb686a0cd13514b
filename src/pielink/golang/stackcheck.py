"""Check that no chain of calls can overrun a goroutine's stack.

When a function has asked for more stack, at least `limit` bytes are left. The functions below it
that do not ask must do with these, all together: see stackgraph.py for what counts.

Source: cmd/link/internal/ld/stackcheck.go, cmd/internal/objabi/stack.go.
"""

from __future__ import annotations

import numpy as np

from pielink.errors import LinkError
from pielink.golang.stackgraph import CALL_SIZE, INDIRECT, StackGraph, stack_graph
from pielink.tables import I8, Auxes, Memory, Relocs, Symbols

STACK_NOSPLIT, RACE_FACTOR = 800, 2  # bytes; the race detector's functions need more


def limit(race: bool) -> int:
    """How many bytes a chain of nosplit functions may use."""
    return STACK_NOSPLIT * (RACE_FACTOR if race else 1) - CALL_SIZE


def depths(graph: StackGraph, stop: int) -> I8:
    """The depth of each row of Symbols; as soon as one is above `stop`, the others may be short.

    Each round makes the chains one call longer, and a call takes at least 8 bytes: so there are
    few rounds even if functions call each other in a circle.
    """
    found = graph.own.copy()
    found[graph.splittable] = CALL_SIZE
    fixed = graph.callee == INDIRECT
    np.maximum.at(found, graph.caller[fixed], graph.growth[fixed] + CALL_SIZE)
    calls = np.flatnonzero(~fixed)
    caller, callee = (
        column.take(calls).astype(np.int64) for column in (graph.caller, graph.callee)
    )
    growth = graph.growth.take(calls)
    while True:
        deeper = growth + found.take(callee)
        short = np.flatnonzero(deeper > found.take(caller))
        if not len(short) or found.max() > stop:
            return found
        np.maximum.at(found, caller[short], deeper[short])


def check_stack(
    memory: Memory,
    symbols: Symbols,
    relocs: Relocs,
    auxes: Auxes,
    morestack: int,
    race: bool = False,
) -> None:
    """Check all chains of calls. `morestack` is the row of runtime.morestack (ABI0), or 0.

    Raises LinkError with one problem per function that starts too deep a chain, which shows all of
    its chains; FormatError if a pc-sp table is malformed.
    """
    graph = stack_graph(memory, symbols, relocs, auxes, morestack)
    most = limit(race)
    if (depths(graph, most) > most).any():
        from pielink.golang.stackchains import Names, overruns

        raise LinkError(overruns(graph, Names(memory, symbols), most))
