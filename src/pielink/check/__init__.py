"""Does a Mach-O file keep the rules of the kernel and of dyld?

Each module here has the rules of one part of the file: a table of them, and a function that holds
an image against it. The streams are read by `pielink.inspect`, which shares no code with the
encoders.
"""

from __future__ import annotations

from pathlib import Path

from pielink.check import (
    chained,
    entry,
    exports,
    header,
    linkedit,
    opcodes,
    segments,
    signature,
    symbols,
    universal,
)
from pielink.check.rule import Failure, Image, Report, Rule, parse_version
from pielink.errors import FormatError
from pielink.inspect.macho import MachOFile

__all__ = ["RULES", "Failure", "Rule", "check"]

GROUPS = (
    *(universal, header, segments, linkedit, symbols),
    *(opcodes, chained, exports, entry, signature),
)
IMAGE_GROUPS = (
    *(header, segments, linkedit, symbols),
    *(opcodes, chained, exports, entry, signature),
)
RULES = {rule.name: rule for group in GROUPS for rule in group.RULES}


def check(path: str | Path, sdk: str | None = None) -> list[Failure]:
    """Every rule that the file breaks, each slice of a fat file judged on its own.

    `sdk` (like "26.0") judges as if the file were stamped with that SDK; without it the file's own
    stamp says which rules bind it. Raises FormatError only if the file cannot be read.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise FormatError(error.strerror or str(error), str(path)) from error
    return check_bytes(data, str(path), sdk)


def check_bytes(data: bytes, path: str = "", sdk: str | None = None) -> list[Failure]:
    """`check` for a file that is in memory already."""
    stamp = None if sdk is None else parse_version(sdk)
    report = Report(RULES, path, "fat")
    for each in universal.check(data, report):
        thin = data[each.offset : each.offset + each.size]
        report.failures += _check_image(thin, path, each.arch, stamp)
    return report.failures


def _check_image(data: bytes, path: str, arch: str, sdk: int | None) -> list[Failure]:
    report = Report(RULES, path, arch)
    if not header.check_structure(data, report):
        return report.failures
    image = Image(MachOFile(data, path), report)
    report.filetype = image.filetype
    report.sdk = header.platform(image.file)["sdk"] if sdk is None else sdk
    for group in IMAGE_GROUPS:
        group.check(image)
    return report.failures
