"""Text stubs that are wrong in one way each, and the message that each must give."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

STUB_V4 = """--- !tapi-tbd
tbd-version: 4
targets: [ x86_64-macos, arm64-macos ]
install-name: /usr/lib/libone.dylib
exports:
  - targets: [ x86_64-macos, arm64-macos ]
    symbols: [ _both ]
  - targets: [ x86_64-macos ]
    symbols: [ _intel_only ]
...
"""
STUB_V5: dict[str, Any] = {
    "tapi_tbd_version": 5,
    "main_library": {
        "target_info": [{"target": "x86_64-macos"}],
        "install_names": [{"name": "/usr/lib/libone.dylib"}],
    },
}


class Case(NamedTuple):
    """A stub and a pattern of the message."""

    title: str
    data: bytes
    message: str


def _yaml(title: str, old: str, new: str, message: str) -> Case:
    assert old in STUB_V4
    return Case(title, STUB_V4.replace(old, new).encode(), message)


def _json(title: str, message: str, **changes: Any) -> Case:
    main = STUB_V5["main_library"] | changes
    return Case(title, json.dumps(STUB_V5 | {"main_library": main}).encode(), message)


CASES = (
    Case("empty", b"", "not a text stub"),
    Case("other text", b"int main(void);\n", "not a text stub"),
    Case("binary", b"--- \xff\xfe", "not UTF-8"),
    Case("leading text", b"foo\n" + STUB_V4.encode(), "not a text stub"),
    Case("no target", b"---\n", r"no target x86_64-macos \(it has none\)"),
    _yaml("unknown kind", "tapi-tbd", "tapi-tbd-v9", "unknown kind !tapi-tbd-v9"),
    _yaml("unknown version", "tbd-version: 4", "tbd-version: 6", "unknown tbd-version 6"),
    _yaml("unclosed", "[ _both ]", "[ _both", "line 7 of text stub: not understood"),
    _yaml("open quote", "_both ]", "'_both ]", "line 7 of text stub: not understood"),
    _yaml("flow mapping", "[ _both ]", "{ _both }", "line 7 of text stub: not understood"),
    _yaml("anchor", "[ _both ]", "*both", "line 7 of text stub: not understood"),
    _yaml("block text", "[ _both ]", "|", "line 7 of text stub: not understood"),
    _yaml("no colon", "exports:", "exports", "line 5 of text stub: not understood"),
    _yaml("tab", "    symbols: [ _both", "\tsymbols: [ _both", "line 7 of text stub"),
    _yaml("stray entry", "exports:\n", "", "line 5 of text stub: an entry of no sequence"),
    _yaml("stray indent", "tbd-version", "  tbd-version", "line 2 of text stub"),
    _yaml("twice", "exports:\n", "targets: [ a ]\nexports:\n", "targets a second time"),
    _yaml("scalar symbols", "[ _both ]", "_both", "symbols of text stub is not a list of names"),
    _yaml("list of lists", "exports:\n", "exports: [ a ]\nx:\n", "not a list of sections"),
    _yaml("install name", "install-name: /usr/lib/libone.dylib\n", "", "no install name"),
    _yaml("list name", "/usr/lib/libone.dylib", "[ a ]", "install name of text stub is not a text"),
    _yaml("version", "exports:\n", "current-version: 1.x\nexports:\n", "wrong version 1.x"),
    Case("json", b"{", "not JSON"),
    Case("json deep", b'{"a":' + b"[" * 100_000, "nested too deeply|not JSON"),
    Case("json version", b'{"tapi_tbd_version": 7}', "unknown tapi_tbd_version 7"),
    Case("json empty", b'{"tapi_tbd_version": 5}', "no main_library"),
    _json("json target", "has no target x86_64-macos", target_info=[{"target": "arm64-ios"}]),
    _json("json targets", "target_info of text stub", target_info="x86_64-macos"),
    _json("json name", "no install name", install_names=[]),
    _json("json names", "install name of text stub is not a text", install_names=[{"name": [1]}]),
    _json("json section", "not a list of sections", exported_symbols=["_a"]),
    _json("json part", "not a list of sections", exported_symbols=[{"text": 3}]),
    _json("json symbol", "not a list of names", exported_symbols=[{"text": {"global": [7]}}]),
    _json("json number", "version of text stub", current_versions=[{"version": 1.5}]),
)
