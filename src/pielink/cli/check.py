"""`pielink check FILE...`: does each file keep the rules of the kernel and of dyld?"""

from __future__ import annotations

import argparse
import json
import sys

from pielink.check import RULES, Rule, check
from pielink.errors import FormatError

EPILOG = """\
example:
  pielink check --sdk 26.0 ./hello

exit status: 0 if every file keeps every rule that binds it, 1 if not, 2 for a wrong command line.
Each line names the file, its architecture, the rule, the place, what is wrong and the remedy;
`pielink check --list` prints the rules.
"""


def parser() -> argparse.ArgumentParser:
    """The command line of `pielink check`."""
    made = argparse.ArgumentParser(
        prog="pielink check",
        description="Hold Mach-O files against the rules of the kernel and of dyld.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("files", nargs="*", metavar="FILE")
    made.add_argument("--sdk", metavar="VERSION", help="judge as if stamped with this SDK")
    made.add_argument("--json", action="store_true", help="print the failures as JSON")
    made.add_argument("--list", action="store_true", help="print the rules (as Markdown)")
    return made


def bound_from(rule: Rule) -> str:
    """From which SDK on the rule binds, for people."""
    if not rule.sdk:
        return "always"
    library = rule.library_sdk
    return f"SDK {rule.sdk}" + (f" (dylibs and bundles: {library})" if library else "")


def rule_list() -> str:
    """The table of rules, as docs/check.md holds it."""
    head = "| Rule | What must hold | From | Remedy | Source |\n|---|---|---|---|---|"
    rows = [
        f"| `{r.name}` | {r.text} | {bound_from(r)} | {r.remedy} | {r.source} |"
        for r in RULES.values()
    ]
    return "\n".join([head, *rows])


def main(argv: list[str]) -> int:
    """Run `pielink check`; 1 if any file breaks a rule or cannot be read."""
    made = parser()
    options = made.parse_args(argv)
    if options.list:
        print(rule_list())
        return 0
    if not options.files:
        made.error("name at least one file")
    found, unread = [], 0
    for path in options.files:
        try:
            found += check(path, options.sdk)
        except FormatError as error:
            unread += 1
            print(f"pielink check: {error}", file=sys.stderr)
    if options.json:
        print(json.dumps([failure.as_dict() for failure in found], indent=1))
    else:
        for failure in found:
            print(failure)
    return 1 if found or unread else 0
