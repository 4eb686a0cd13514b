"""What is checked about the code, and what is printed on request: -dumpdep, -c, -debugnosplit."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from pielink.golang.inittasks import init_tasks
from pielink.golang.stackcheck import check_stack
from pielink.golang.stackgraph import stack_graph
from pielink.options import LinkOptions
from pielink.passes.reach import roots
from pielink.program import Program
from pielink.tables import ABI0, I4, Auxes, Relocs, Symbols

MORESTACK = b"runtime.morestack"


def check_code(
    program: Program,
    options: LinkOptions,
    symbols: Symbols,
    relocs: Relocs,
    auxes: Auxes,
    row_of_slot: I4,
    text: I4,
) -> None:
    """Print the call graph and the use of stack if asked to, then check that the stack suffices.

    `text` holds the rows of all functions in the order of their packages. Raises LinkError with
    every chain of calls that needs too much stack, FormatError if a pc-sp table is malformed.
    """
    memory = program.memory
    if options.dump_call_graph:
        from pielink.golang.callgraph import call_lines

        _print(call_lines(memory, symbols, relocs, text))
    morestack = int(row_of_slot[program.find(MORESTACK, ABI0)])
    if options.debug_nosplit:
        from pielink.golang.stackchains import Names, debug_lines

        graph = stack_graph(memory, symbols, relocs, auxes, morestack)
        _print(debug_lines(graph, Names(memory, symbols), text))
    check_stack(memory, symbols, relocs, auxes, morestack, options.race)


def print_dependencies(
    program: Program, entries: Sequence[bytes], exports: I4 | None = None, dynlink: bool = False
) -> None:
    """-dumpdep: print what made each symbol live; the arguments are those of `roots`."""
    from pielink.golang.dumpdep import DependencyDump

    dump = DependencyDump(program, init_tasks(program), dynlink)
    _print(dump.walk(roots(program, entries, exports).tolist()))


def _print(lines: Iterator[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
