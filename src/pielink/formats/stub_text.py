"""The YAML of text stubs (.tbd), as far as tapi writes it.

A file is a row of documents, each a line `--- !KIND` and a mapping. Values are scalars (plain,
'single' or "double" quoted, on one line), flow sequences of scalars over any number of lines
(`[ a, 'b', "c" ]`), or block sequences of scalars or of such mappings. A # begins a comment.
Anything else is an error with its line. Source: the YAML 1.2 specification (chapters 7 and 8).

Flow sequences hold nearly all of a stub's bytes, most of them for other targets than that of the
link, so they stay as they are until `elements` is asked for them.
"""

from __future__ import annotations

from collections.abc import Iterator

from pielink.errors import FormatError
from pielink.hints import Any

# str: a scalar; bytes: what is between the brackets of a flow sequence; list: a block sequence.
YamlMap = dict[str, Any]

_RULE = b"---"
_NOT_IN_LIST = (b'"', b"[", b"{", b"}")  # of a list whose end is the first ]
_NOT_PLAIN = b"\t\r\v\f[{}'\"#&*!|>%@`-"  # what no plain scalar begins with


def documents(data: bytes, file: str) -> Iterator[tuple[str, int, YamlMap]]:
    """Yield the kind ("" where none is said), the offset and the mapping of each document.

    `file` is how messages call it. Raises FormatError where the text is not as above.
    """
    at = _next_rule(data, 0)
    if at < 0 or data[:at].strip():
        raise FormatError("is not a text stub (it should begin with --- or {)", file)
    while at < len(data):
        following = _next_rule(data, at + 1)
        end = following if following >= 0 else len(data)
        body = _end_of_line(data, at, end)
        tag = data[at + len(_RULE) : body].partition(b"#")[0].strip()
        if tag and not tag.startswith(b"!"):
            raise _refusal(data, at, file)
        yield tag[1:].decode(), at, _mapping(data, body + 1, end, file)
        at = end


def _next_rule(data: bytes, at: int) -> int:
    """Return where the next line is that begins a document, from the line start `at` on; or -1."""
    if at == 0 and data.startswith(_RULE):
        return 0
    return data.find(b"\n" + _RULE, max(at - 1, 0)) + 1 or -1


def _end_of_line(data: bytes, at: int, end: int) -> int:
    stop = data.find(b"\n", at, end)
    return end if stop < 0 else stop


def _refusal(data: bytes, at: int, file: str, why: str = "not understood") -> FormatError:
    line = data.count(b"\n", 0, at) + 1
    return FormatError(f"line {line} of text stub: {why}", file)


def _mapping(data: bytes, at: int, end: int, file: str) -> YamlMap:
    top: YamlMap = {}
    sequence: list[Any] | None = None  # the block sequence that lines with a dash add to
    entry: YamlMap | None = None  # its last mapping, that indented lines add to
    while at < end:
        start, stop = at, _end_of_line(data, at, end)
        line = data[at:stop]
        at = stop + 1
        text = line.lstrip(b" ")
        if not text or text.startswith(b"#") or line.rstrip(b" ") == b"...":
            continue
        dash, indented = text.startswith(b"- "), len(text) < len(line)
        key, text = _key(text[2:].lstrip(b" ") if dash else text)
        read = _value(data, stop - len(text), stop, end)
        if read is None:
            raise _refusal(data, start, file)
        value, at = read
        if dash:
            if sequence is None:
                raise _refusal(data, start, file, "an entry of no sequence")
            entry = {key: value} if key else None
            sequence.append(entry if entry is not None else value)
        elif not key or (indented and entry is None):
            raise _refusal(data, start, file)
        elif indented and entry is not None:
            entry[key] = value
        elif key in top:
            raise _refusal(data, start, file, f"{key} a second time")
        else:
            entry, sequence = None, [] if value == "" else None
            top[key] = value if sequence is None else sequence
    return top


def _key(text: bytes) -> tuple[str, bytes]:
    """Split the rest of a line into its key ("" if it has none) and its value."""
    name, colon, rest = text.partition(b":")
    letters = name.replace(b"-", b"").replace(b"_", b"")
    if colon and letters.isalnum() and name[:1].isalpha() and rest[:1] in (b"", b" "):
        return name.decode(), rest.lstrip(b" ")
    return "", text


def _value(data: bytes, at: int, stop: int, end: int) -> tuple[Any, int] | None:
    """Read the value in data[at:stop], the rest of a line; a flow sequence may go on to `end`.

    Returns the value, "" for none, and where the next line begins; None if it is not understood.
    """
    value: Any
    first = data[at : at + 1] if at < stop else b""
    if first == b"[":
        value, after = _flow(data, at, end)
        stop = _end_of_line(data, after, end)
    elif first in (b"'", b'"'):
        text, after = _quoted(data, at, stop)
        value = text.decode()
    elif first and first in _NOT_PLAIN and first != b"#":
        return None
    else:
        value, after = data[at:stop].partition(b"#")[0].rstrip().decode(), stop
    rest = data[after:stop].strip()
    return (value, stop + 1) if after and (not rest or rest.startswith(b"#")) else None


def _flow(data: bytes, at: int, end: int) -> tuple[bytes, int]:
    """Return what is between the brackets of the flow sequence at `at`, and the offset behind it.

    That is 0 if nothing ends it.
    """
    close = data.find(b"]", at, end)
    body = data[at + 1 : max(close, at + 1)]
    unplain = any(map(body.__contains__, _NOT_IN_LIST))
    if unplain or (b"'" in body and body.count(b"'") % 2):
        after = _walk(data, at + 1, end)[1]
        return data[at + 1 : after - 1], after
    return body, close + 1


def elements(flow: bytes) -> list[bytes] | None:
    """Return the scalars of a flow sequence, given what is between its brackets.

    None if they are malformed.
    """
    words = [word.strip() for word in flow.split(b",")]
    if b"'" in flow:
        words = [w[1:-1] if w[:1] == b"'" == w[-1:] and len(w) > 2 else w for w in words]
    if b'"' in flow or b"'" in b",".join(words):
        return _walk(flow + b"]", 0, len(flow) + 1)[0]
    return list(filter(None, words))


def _walk(data: bytes, at: int, end: int) -> tuple[list[bytes] | None, int]:
    """Read a flow sequence scalar by scalar from behind its [ on.

    Returns the scalars and the offset behind its ]; None and 0 if it is malformed or no ] before
    `end` ends it.
    """
    found: list[bytes] = []
    close, separated = at - 1, True
    while at < end:
        first = data[at : at + 1]
        if first == b"]":
            return found, at + 1
        if first in b" \n\t\r,":
            separated |= first == b","
            at += 1
            continue
        if not separated:
            break
        if first in b"'\"":
            text, at = _quoted(data, at, end)
        else:
            close = data.find(b"]", at, end) if close < at else close
            comma = data.find(b",", at, max(close, at))
            text = data[at : comma if comma >= 0 else close].rstrip()
            at += len(text)
            if close < 0 or any(each in text for each in (b"'", *_NOT_IN_LIST)):
                break
        if not at:
            break
        found.append(text)
        separated = False
    return None, 0


def _quoted(data: bytes, at: int, end: int) -> tuple[bytes, int]:
    """Return the quoted scalar that begins at `at`, and the offset behind it; 0 if it is open."""
    quote = data[at : at + 1]
    escape = b"'" if quote == b"'" else b"\\"
    parts: list[bytes] = []
    start, close = at + 1, at
    while True:
        close = data.find(quote, start, end) if close < start else close
        if close < 0:
            return b"", 0
        escaped = data.find(escape, start, min(close + 2, end))
        if escape == quote and data[escaped + 1 : escaped + 2] != quote:
            escaped = -1
        if escaped < 0 or escaped > close:
            return b"".join([*parts, data[start:close]]), close + 1
        parts.append(data[start:escaped] + data[escaped + 1 : escaped + 2])
        start = escaped + 2
