"""docs/link-flags.md, made from the flag table and the link-mode table.

Regenerate: python -m pielink.golang.flag_docs >docs/link-flags.md
"""

from __future__ import annotations

from pielink.golang.flag_table import GO_FLAGS, OWN_FLAGS, Fate, Flag
from pielink.golang.link_mode import INTERNAL, REFUSALS

HEAD = """\
# The flags of `pielink link`

`pielink link [flags] main.a` takes the flags of `go tool link` with the same spelling: `-flag
value` or `-flag=value`, with one dash or two. A boolean flag takes a value only after `=`. `@file`
stands for the arguments in a file. An unknown flag is a usage error (exit status 2); a flag or mode
that is refused ends in one error (exit status 1) that says why.

This page is made from the tables in `src/pielink/golang/flag_table.py` and `link_mode.py`.
"""


def markdown() -> str:
    """The whole page."""
    parts = [HEAD]
    titles = {
        Fate.WORKS: "Work as in `go tool link`",
        Fate.NO_MEANING: "Accepted, because they have no meaning for this target",
        Fate.REFUSED: "Refused",
    }
    for fate, title in titles.items():
        parts.append(_table(title, [flag for flag in GO_FLAGS if flag.fate is fate]))
    parts.append(_table("pielink's own", OWN_FLAGS))
    parts.append(_link_mode())
    return "\n".join(parts)


def _table(title: str, flags: list[Flag] | tuple[Flag, ...]) -> str:
    rows = [f"| `-{' '.join(filter(None, (f.name, f.argument)))}` | {f.text} |" for f in flags]
    return "\n".join([f"## {title}", "", "| flag | |", "|---|---|", *rows, ""])


def _link_mode() -> str:
    linked = [f"| {case} | {reason} |" for case, reason in INTERNAL]
    refused = [f"| {rule.case} | {rule.reason} | {rule.remedy} |" for rule in REFUSALS]
    return "\n".join(
        [
            "## Link mode",
            "",
            "Go's linker decides whether to link by itself or to call an external linker. pielink",
            "links by itself:",
            "",
            "| case | why |",
            "|---|---|",
            *linked,
            "",
            "and refuses:",
            "",
            "| case | why | what to do |",
            "|---|---|---|",
            *refused,
            "",
        ]
    )


if __name__ == "__main__":
    print(markdown(), end="")
