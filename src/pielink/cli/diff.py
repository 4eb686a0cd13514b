"""`pielink diff A B`: compare two Mach-O files part by part."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable

from pielink.inspect import Difference, compare, read_macho
from pielink.inspect.difference import PARTS

EPILOG = """\
example:
  GOOS=darwin GOARCH=amd64 go build -ldflags='-w -buildid=' -o theirs ./cmd/hello
  pielink build -ldflags='-w -buildid=' -o ours ./cmd/hello
  pielink diff theirs ours

exit status: 0 if every difference is deliberate (docs/differences.md explains each by its id),
1 if any is not or a file cannot be read, 2 for a wrong command line.
"""


def parser() -> argparse.ArgumentParser:
    """The command line of `pielink diff`."""
    made = argparse.ArgumentParser(
        prog="pielink diff",
        description="Compare two Mach-O files by header, load command, section, symbol, rebase,\n"
        "bind and export; print the first difference in each.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("a", metavar="A")
    made.add_argument("b", metavar="B")
    made.add_argument("--all", action="store_true", help="print every difference")
    made.add_argument("--json", action="store_true", help="print all of them as JSON")
    made.add_argument("--arch", help="which image of a fat file: x86_64, arm64, arm64e")
    made.add_argument(
        "--ignore",
        nargs="+",
        default=[],
        action="extend",
        metavar="SECT",
        help="leave out a section (__SEG,__sect or __sect) or the sections of a segment",
    )
    return made


def first_of_each(found: Iterable[Difference]) -> list[tuple[Difference, int]]:
    """The first difference of each kind and how many there are of it.

    Sections and load commands count as a kind each; the rows of a table are one kind.
    """
    groups: dict[tuple[str, ...], list[Difference]] = {}
    for each in found:
        place = (each.place, each.what) if each.part in PARTS[:3] else ()
        groups.setdefault((each.part, each.deliberate, *place), []).append(each)
    return [(rows[0], sum(row.count for row in rows)) for rows in groups.values()]


def render(found: list[Difference], everything: bool) -> str:
    """What `pielink diff` prints for people."""
    shown = [(d, d.count) for d in found] if everything else first_of_each(found)
    lines = []
    for each, count in shown:
        note = f" (deliberate: {each.deliberate})" if each.deliberate else ""
        lines.append(f"{each.part} {each.place}: {each.what}{note}")
        lines += [f"    A: {each.a}", f"    B: {each.b}"]
        if each.context:
            lines.append(f"    at {each.context}")
        if count > 1:
            unit = "bytes" if each.what == "bytes" else "rows"
            lines.append(f"    {count} {unit} differ")
    on_purpose = sum(1 for d in found if d.deliberate)
    lines.append(f"{len(found) - on_purpose} differences, {on_purpose} deliberate")
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Run `pielink diff`; 1 if any difference is not deliberate."""
    options = parser().parse_args(argv)
    a, b = read_macho(options.a, options.arch), read_macho(options.b, options.arch)
    found = compare(a, b, options.ignore)
    wrong = [d for d in found if not d.deliberate]
    if options.json:
        rows = [d.as_dict() for d in found]
        print(json.dumps({"same": not wrong, "differences": rows}, indent=1))
    else:
        print(render(found, options.all))
    return 1 if wrong else 0
