"""Name the chains of calls that need too much stack, the way Go's linker does.

Only looked at when something is wrong, or by -debugnosplit, so it goes through the calls one by
one. Nothing here recurses: the calls of a malformed program can be as deep as they like.

Source: cmd/link/internal/ld/stackcheck.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from pielink.errors import Problem
from pielink.golang.stackgraph import CALL_SIZE, INDIRECT, StackGraph
from pielink.record import Record
from pielink.tables import I4, STATIC, Memory, Symbols

INFINITE = 2**15 - 1  # the depth of a circle, and the most that a depth is taken to be
LEAF = 0  # callee of an edge that stands for the function's own use of stack
STATIC_VERSION = 9  # Go shows a static symbol with a version: this plus the row of its object
MOST_STEPS = 200_000  # calls to follow from one function when chains are listed


class Edge(Record):
    """Stack use of a function up to a call, or, if the callee is LEAF, at its deepest."""

    growth: int  # bytes
    callee: int  # row in Symbols, LEAF or INDIRECT


class Names:
    """How functions are called in messages: name<version>."""

    def __init__(self, memory: Memory, symbols: Symbols) -> None:
        self.memory, self.symbols = memory, symbols

    def name(self, row: int) -> str:
        """The name alone."""
        start, size = int(self.symbols.name_offset[row]), int(self.symbols.name_size[row])
        return self.memory.get(start, size).decode("utf-8", "replace")

    def full(self, row: int) -> str:
        """The name with its version; INDIRECT has a name of its own."""
        if row == INDIRECT:
            return "indirect"
        version = int(self.symbols.version[row])
        if version == STATIC:
            version = STATIC_VERSION + int(self.symbols.object[row])
        return f"{self.name(row)}<{version}>"


class Calls:
    """The edges and depths of all functions, one by one."""

    def __init__(self, graph: StackGraph) -> None:
        self.graph = graph
        self.calls: dict[int, list[Edge]] = {}
        columns = (graph.caller.tolist(), graph.growth.tolist(), graph.callee.tolist())
        for caller, growth, callee in zip(*columns, strict=True):
            self.calls.setdefault(caller, []).append(Edge(growth, callee))
        self.depth: dict[int, int] = {}  # of the functions in `calls`
        self._find_depths()

    def edges(self, row: int) -> list[Edge]:
        """What a function does to the stack, in the order of its code."""
        if row in (LEAF, self.graph.morestack):
            return []
        if row == INDIRECT or self.graph.splittable[row]:
            return [Edge(CALL_SIZE, self.graph.morestack)]
        calls = self.calls.get(row, [])
        own = int(self.graph.own[row])
        if own > max((e.growth + self.depth_of(e.callee) for e in calls), default=0):
            return [*calls, Edge(own, LEAF)]
        return calls

    def depth_of(self, row: int) -> int:
        """Bytes that a function and all it calls use; INFINITE if they call in a circle."""
        if row == INDIRECT or self.graph.splittable[row]:
            return CALL_SIZE
        return self.depth.get(row, min(int(self.graph.own[row]), INFINITE))

    def _find_depths(self) -> None:
        """Depths of the functions in `calls`: callees first; what is left calls in a circle."""
        callers: dict[int, list[int]] = {}
        pending = {}
        for row, edges in self.calls.items():
            inner = [e.callee for e in edges if e.callee in self.calls]
            pending[row] = len(inner)
            for callee in inner:
                callers.setdefault(callee, []).append(row)
        ready = [row for row, count in pending.items() if not count]
        while ready:
            row = ready.pop()
            deepest = max(e.growth + self.depth_of(e.callee) for e in self.calls[row])
            self.depth[row] = min(max(deepest, int(self.graph.own[row])), INFINITE)
            for caller in callers.get(row, []):
                pending[caller] -= 1
                if not pending[caller]:
                    ready.append(caller)
        self.depth = {row: self.depth.get(row, INFINITE) for row in self.calls}


def overruns(graph: StackGraph, names: Names, limit: int) -> Iterator[Problem]:
    """One problem per function from which a chain is longer than `limit` bytes.

    Functions that others of them call are not listed by themselves. The deepest comes first.
    """
    calls = Calls(graph)
    failed = [r for r in np.flatnonzero(graph.nosplit).tolist() if calls.depth_of(r) > limit]
    edges = {row: calls.edges(row) for row in _closure(failed, calls.edges)}
    for root in sorted(_roots(edges), key=lambda row: (-calls.depth_of(row), row)):
        text = "\n".join(_Chains(edges, names, limit).lines(root))
        yield Problem(f"nosplit stack over {limit} byte limit\n{text}", symbol=names.name(root))


def _closure(start: Iterable[int], edges: Callable[[int], list[Edge]]) -> dict[int, None]:
    """These rows and all that they call, LEAF aside; a dict for its order."""
    found: dict[int, None] = {}
    rest = list(start)
    while rest:
        row = rest.pop()
        if row not in found and row != LEAF:
            found[row] = None
            rest += [e.callee for e in edges(row)]
    return found


def _roots(edges: dict[int, list[Edge]]) -> list[int]:
    """The functions that nothing else here calls; of a circle that nothing calls, the first row."""
    callers: dict[int, list[Edge]] = {row: [] for row in edges}
    for row, out in edges.items():
        for edge in out:
            if edge.callee != LEAF:
                callers[edge.callee].append(Edge(0, row))
    roots = [row for row, into in callers.items() if not into]
    seen = _closure(roots, edges.__getitem__)
    while rest := sorted(edges.keys() - seen.keys()):
        # The row that a walk over the rest starts from last lies on a circle that nothing calls.
        walked: dict[int, None] = {}
        for row in rest:
            if row not in walked:
                last = row
                walked |= _closure([row], edges.__getitem__)
        roots.append(min(_closure([last], callers.__getitem__)))
        seen |= _closure([last], edges.__getitem__)
    return roots


class _Chains:
    """Lists the chains from one function that go over the limit, as an indented tree."""

    def __init__(self, edges: dict[int, list[Edge]], names: Names, limit: int) -> None:
        self.edges = dict(edges)  # those of the functions on the current chain are taken out
        self.names = names
        self.limit = limit
        self.chain: list[Edge] = []
        self.printed = 0  # how much of the current chain is already in the tree

    def lines(self, root: int) -> Iterator[str]:
        """The tree, line by line."""
        stack = [(root, self.limit, *self._enter(Edge(0, root)))]
        yield from self._ended(stack[-1])
        for _ in range(MOST_STEPS):
            row, left, out, todo, _ = stack[-1]
            edge = next(todo, None)
            if edge is None:
                stack.pop()
                self._leave(row, out)
                if not stack:
                    return
                continue
            stack.append((edge.callee, left - edge.growth, *self._enter(edge)))
            yield from self._ended(stack[-1])
        yield "    ... and more: the calls are too many to list"

    def _enter(self, edge: Edge) -> tuple[list[Edge], Iterator[Edge], bool]:
        """Put an edge on the chain: its callee's edges, those to follow, whether it is a circle."""
        self.chain.append(edge)
        circle = edge.callee not in self.edges and edge.callee != LEAF
        out = self.edges.pop(edge.callee, [])
        return out, iter(out), circle

    def _leave(self, row: int, out: list[Edge]) -> None:
        self.edges[row] = out
        self.chain.pop()
        self.printed = min(self.printed, len(self.chain))

    def _ended(self, top: tuple[int, int, list[Edge], Iterator[Edge], bool]) -> Iterator[str]:
        """The lines of the current chain, if it ends here and is too long."""
        _, left, out, _, circle = top
        if out or (left >= 0 and not circle):
            return
        if not self.printed:
            yield self.names.full(self.chain[0].callee)
        for level in range(max(self.printed, 1), len(self.chain)):
            edge = self.chain[level]
            call = f", calls {self.names.full(edge.callee)}" if edge.callee != LEAF else ""
            indent = "    " * level
            yield f"{indent}grows {edge.growth} bytes{call}"
        self.printed = len(self.chain)
        indent = "    " * (len(self.chain) - 1)
        yield f"{indent}infinite cycle" if circle else f"{indent}{-left} bytes over limit"


def debug_lines(graph: StackGraph, names: Names, text: I4) -> Iterator[str]:
    """What -debugnosplit prints: every edge, callees first, for `text` (rows) in its order."""
    calls = Calls(graph)
    seen: set[int] = set()
    for start in text.tolist():
        stack = [] if start in seen else [(start, iter(calls.edges(start)))]
        seen.add(start)
        while stack:
            row, todo = stack[-1]
            edge = next(todo, None)
            if edge is None:
                stack.pop()
                for edge in calls.edges(row):
                    to = f" -> {names.full(edge.callee)}" if edge.callee != LEAF else ""
                    yield f"nosplit: {names.full(row)} +{edge.growth}{to}"
            elif edge.callee != LEAF and edge.callee not in seen:
                seen.add(edge.callee)
                stack.append((edge.callee, iter(calls.edges(edge.callee))))
