"""argv -> LinkOptions, with the grammar of Go's flag package and of cmd/link.

-flag and --flag, -flag=value and -flag value; a boolean takes a value only after "=". "--" or the
first word that is no flag ends the flags. "@file" stands for the arguments in that file.
Source: Go's flag package; cmd/internal/objabi/flag.go for counters and response files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from pielink.errors import LinkError, Problem, UsageError
from pielink.golang.flag_table import FLAGS, GO_FLAGS, OWN_FLAGS, Fate, Flag, Kind
from pielink.golang.link_mode import (
    KNOWN_BUILD_MODES,
    KNOWN_LINK_MODES,
    Request,
    check_link_mode,
)
from pielink.hints import Any
from pielink.options import BuildConfig, BuildMode, LinkOptions
from pielink.record import Mutable, fresh

# Response files may name response files; a cycle ends in an error at this depth.
RESPONSE_DEPTH = 16
_RESPONSE_ITEM = (
    r"(?P<space>[ \t\r\n]+)"
    r"|'(?P<single>[^']*)'?"
    r'|"(?P<double>(?:\\.|[^"])*)"?'
    r"|\\(?P<join>\r?\n)"
    r"|\\(?P<escaped>.?)"
    r"""|(?P<plain>[^ \t\r\n'"\\]+)"""
)

# How --help marks flags.
_FATES = {Fate.NO_MEANING: "accepted, no meaning here", Fate.REFUSED: "refused"}


class ParsedFlags(Mutable):
    """The values given on a command line, by flag name, and the words after the flags."""

    values: dict[str, Any] = fresh(factory=dict)
    arguments: list[str] = fresh(factory=list)
    help: bool = False


def split_response(text: str) -> list[str]:
    """The arguments in a response file: white space parts them, quotes and \\ protect (as GCC)."""
    import re

    words: list[str] = []
    word: list[str] | None = None
    for item in re.finditer(_RESPONSE_ITEM, text, re.DOTALL):
        kind, value = item.lastgroup, item[item.lastgroup or 0]
        if kind == "space":
            words += ["".join(word)] if word is not None else []
            word = None
        elif kind != "join" and not (kind == "escaped" and not value):
            if kind == "double":
                value = re.sub(r'\\(?:([\\"$`])|\r?\n)', lambda m: m[1] or "", value)
            word = [*(word or []), value]
    return words if word is None else [*words, "".join(word)]


def expand_response_files(argv: Sequence[str], depth: int = 0) -> list[str]:
    """Replace each "@file" by the arguments in it; UsageError if it cannot be read."""
    expanded: list[str] = []
    for word in argv:
        if not word.startswith("@"):
            expanded.append(word)
            continue
        if depth == RESPONSE_DEPTH:
            raise UsageError(f"response file {word[1:]} is nested too deeply")
        try:
            with open(word[1:], encoding="utf-8") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read response file {word[1:]}: {error}") from None
        expanded += expand_response_files(split_response(text), depth + 1)
    return expanded


def parse_flags(argv: Sequence[str]) -> ParsedFlags:
    """Read the flags of `argv`; UsageError in the words of Go's flag package."""
    parsed = ParsedFlags()
    words = expand_response_files(argv)
    while words:
        word = words[0]
        if not word.startswith("-") or word == "-":
            break
        words = words[1:]
        if word == "--":
            break
        name, equals, text = word[1 + word.startswith("--") :].partition("=")
        if not name or name.startswith("-"):
            raise UsageError(f"bad flag syntax: {word}")
        if name == "help":
            parsed.help = True
            continue
        flag = FLAGS.get(name)
        if flag is None:
            raise UsageError(f"flag provided but not defined: -{name}")
        if not equals and flag.kind in (Kind.BOOL, Kind.COUNT):
            text = "true"
        elif not equals:
            if not words:
                raise UsageError(f"flag needs an argument: -{name}")
            text, words = words[0], words[1:]
        _store(parsed.values, flag, text)
    parsed.arguments = words
    return parsed


def _store(values: dict[str, Any], flag: Flag, text: str) -> None:
    """Note one flag's value; refused flags end here, unless they ask for nothing."""
    counted = flag.kind is Kind.COUNT and text in ("true", "false")
    try:
        value = flag.read(text) if not counted else None
    except (ValueError, UsageError) as error:
        kind = "boolean value" if flag.kind is Kind.BOOL else "value"
        raise UsageError(f'invalid {kind} "{text}" for flag -{flag.name}: {error}') from None
    if counted:
        value = values.get(flag.name, 0) + 1 if text == "true" else 0
    if flag.kind is Kind.LIST:
        value = (*values.get(flag.name, ()), value)
    if flag.fate is Fate.REFUSED and value != flag.harmless:
        raise LinkError([Problem(f"-{flag.name} is not supported: {flag.text}")])
    values[flag.name] = value


def parse_link_flags(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> LinkOptions:
    """The options of `pielink link argv`.

    UsageError for what is no valid command line, LinkError for what is valid and refused.
    """
    return link_options(parse_flags(argv), BuildConfig.from_environment(environ))


def link_options(parsed: ParsedFlags, config: BuildConfig) -> LinkOptions:
    """Make the record of parsed flags; -s, -w, -B and the modes get their combined meaning."""
    if len(parsed.arguments) != 1:
        raise UsageError(
            f"want one main archive, not {len(parsed.arguments)}; see pielink link --help"
        )
    values = parsed.values
    build_mode = _known("buildmode", values.get("buildmode", "exe"), KNOWN_BUILD_MODES)
    link_mode = _known("linkmode", values.get("linkmode", "auto"), KNOWN_LINK_MODES)
    check_link_mode(Request(build_mode, link_mode, values.get("H", ""), config))
    fields = {f.field: values[f.name] for f in FLAGS.values() if f.field and f.name in values}
    fields["strip_dwarf"] = values.get("w", values.get("s", False))
    if not fields.get("uuid") and fields.get("build_id"):
        fields["uuid"] = "gobuildid"
    return LinkOptions(
        main=parsed.arguments[0],
        config=config,
        build_mode=BuildMode(build_mode),
        **fields,
    )


def _known(name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise UsageError(f'invalid value "{value}" for flag -{name}: want {", ".join(known)}')
    return value


def usage() -> str:
    """The text of `pielink link --help`."""
    lines = [
        "usage: pielink link [options] main.a",
        "",
        "Links Go archives into a macOS executable; takes the flags of go tool link.",
        "",
        "example: pielink link -o hello -importcfg importcfg.link -buildmode=pie main.a",
        "",
        *_rows(GO_FLAGS),
        "",
        "pielink's own:",
        *_rows(OWN_FLAGS),
    ]
    return "\n".join(lines)


def _rows(flags: tuple[Flag, ...]) -> list[str]:
    """Two lines per flag: how it is written, and what it does."""
    rows = []
    for flag in flags:
        fate = f"({_FATES[flag.fate]}) " if flag.fate in _FATES else ""
        rows += [f"  -{flag.name} {flag.argument}".rstrip(), f"        {fate}{flag.text}"]
    return rows
