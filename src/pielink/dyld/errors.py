"""The one error of the dyld info codecs."""

from __future__ import annotations

from pielink.errors import FormatError


class DyldInfoError(FormatError):
    """A stream is malformed, or rows cannot be encoded.

    `offset` is in bytes from the start of the stream (or trie, or payload) that was being decoded;
    None when the trouble is in the rows handed to an encoder.
    """
