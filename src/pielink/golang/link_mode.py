"""The link-mode decision: what pielink links by itself, what it refuses, and what to do then.

Go's linker hands a program to an external linker when one row of a list of reasons holds
(cmd/link/internal/ld/config.go: mustLinkExternal, determineLinkMode). pielink has no external
linker behind it: a row either has become its own work or ends in an error with a way out.
"""

from __future__ import annotations

from collections.abc import Callable

from pielink.errors import LinkError, Problem
from pielink.options import BuildConfig
from pielink.record import Record

KNOWN_BUILD_MODES = ("exe", "pie", "c-archive", "c-shared", "shared", "plugin")
KNOWN_LINK_MODES = ("auto", "internal", "external")


class Request(Record):
    """What the flags and the environment say about the kind of link."""

    build_mode: str
    link_mode: str
    header_type: str
    config: BuildConfig


class Rule(Record):
    """A row of the decision: where `holds`, the link is refused with `reason` and `remedy`."""

    case: str
    holds: Callable[[Request], bool]
    reason: str
    remedy: str


REFUSALS: tuple[Rule, ...] = (
    Rule(
        "-buildmode=c-archive",
        lambda r: r.build_mode == "c-archive",
        "the output is an archive for another linker, not an executable",
        "use go build without pielink, with a C compiler for macOS",
    ),
    Rule(
        "-buildmode=c-shared",
        lambda r: r.build_mode == "c-shared",
        "pielink makes executables, not dylibs",
        "use go build without pielink, with a C compiler and linker for macOS",
    ),
    Rule(
        "-buildmode=plugin",
        lambda r: r.build_mode == "plugin",
        "pielink makes executables, not bundles",
        "use go build without pielink, with a C compiler and linker for macOS",
    ),
    Rule(
        "-buildmode=shared",
        lambda r: r.build_mode == "shared",
        "Go has no shared build mode on macOS",
        "use -buildmode=pie",
    ),
    Rule(
        "-linkmode=external",
        lambda r: r.link_mode == "external",
        "pielink is the linker and runs no other",
        "leave out -linkmode, or use go build without pielink",
    ),
    Rule(
        "GO_EXTLINK_ENABLED=1 with -linkmode=auto",
        lambda r: r.link_mode == "auto" and r.config.goextlink == "1",
        "the environment asks for external linking, and pielink runs no other linker",
        "unset GO_EXTLINK_ENABLED, or give -linkmode=internal",
    ),
    Rule(
        "-H other than darwin",
        lambda r: r.header_type not in ("", "darwin"),
        "pielink writes Mach-O",
        "leave out -H, or use go tool link",
    ),
)

# What Go sends to the external linker, or does internally, and pielink does by itself.
INTERNAL: tuple[tuple[str, str], ...] = (
    ("-buildmode=exe, -buildmode=pie", "executables are what pielink is for"),
    ("programs with cgo", "C objects are linked here too: no host linker is looked for"),
    ("-race", "the race detector's run-time library is a host object among the inputs"),
    (
        "packages that cgo marks dynimportfail or preferlinkext",
        "the marks steer Go's choice of linker; pielink resolves the symbols itself",
    ),
)


def check_link_mode(request: Request) -> None:
    """Raise LinkError with every rule that refuses the request; return if pielink links it."""
    problems = [
        Problem(f"{rule.case}: {rule.reason}; {rule.remedy}")
        for rule in REFUSALS
        if rule.holds(request)
    ]
    if problems:
        raise LinkError(problems)
