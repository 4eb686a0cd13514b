"""What a rule is, what a failure is, and the state that one run of the rules shares."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from pielink.errors import FormatError, UsageError
from pielink.formats import macho
from pielink.inspect.macho import MachOFile, text

MAX_SHOWN = 5  # places told apart when one rule is broken in many


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the kernel or of dyld.

    `text` says what must hold, `remedy` what to do when it does not, `source` the file and
    function of Apple's published source that states it. `sdk` is the SDK version from which it is
    enforced in executables, `library_sdk` in dylibs and bundles (the same if empty); empty: always.
    """

    name: str
    text: str
    remedy: str
    source: str
    sdk: str = ""
    library_sdk: str = ""

    def enforced_from(self, filetype: int) -> int:
        """The packed SDK version from which files of this type must keep the rule; 0: always."""
        wanted = self.sdk if filetype == macho.MH_EXECUTE else self.library_sdk or self.sdk
        return parse_version(wanted) if wanted else 0


@dataclass(frozen=True, slots=True)
class Failure:
    """A rule that a file breaks: the rule's name, the place, what is wrong there, the remedy."""

    file: str
    arch: str
    rule: str
    place: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return (
            f"{self.file} ({self.arch}): {self.rule}: {self.place}: {self.message}; {self.remedy}"
        )

    def as_dict(self) -> dict[str, Any]:
        """The fields, for JSON."""
        return asdict(self)


def parse_version(version: str) -> int:
    """`26.0` or `10.15.4` as Mach-O packs it: 16 bits major, 8 minor, 8 patch."""
    parts = version.split(".")
    if not 1 <= len(parts) <= 3 or not all(p.isdecimal() and len(p) < 6 for p in parts):
        raise UsageError(f"not a version: {version!r} (give it like 26.0)")
    major, minor, patch = [*map(int, parts), 0, 0][:3]
    if major > 0xFFFF or minor > 0xFF or patch > 0xFF:
        raise UsageError(f"not a version: {version!r} (its numbers are too large)")
    return major << 16 | minor << 8 | patch


def show_version(packed: int) -> str:
    """A packed version as people write it."""
    patch = f".{packed & 0xFF}" if packed & 0xFF else ""
    return f"{packed >> 16}.{packed >> 8 & 0xFF}{patch}"


@dataclass(slots=True)
class Report:
    """Collects failures; knows the rules and from which SDK each binds."""

    rules: dict[str, Rule]
    path: str
    arch: str
    sdk: int = 0
    filetype: int = macho.MH_EXECUTE
    failures: list[Failure] = field(default_factory=list)

    def enforced(self, name: str) -> bool:
        """Must this file keep the rule, by its type and SDK?"""
        return self.sdk >= self.rules[name].enforced_from(self.filetype)

    def fail(self, name: str, place: str, message: str) -> None:
        """Note that the rule `name` is broken at `place`, if the file is bound by it."""
        if self.enforced(name):
            remedy = self.rules[name].remedy
            self.failures.append(Failure(self.path, self.arch, name, place, message, remedy))

    def require(self, holds: bool, name: str, place: str, message: str) -> bool:
        """Note a failure unless `holds`; return `holds`."""
        if not holds:
            self.fail(name, place, message)
        return holds

    def each(self, name: str, rows: Iterable[Any], tell: Callable[[Any], tuple[str, str]]) -> None:
        """Note a failure for each row; `tell` gives the place and message of the first few."""
        found = list(rows)
        for row in found[:MAX_SHOWN]:
            self.fail(name, *tell(row))
        if len(found) > MAX_SHOWN:
            self.fail(name, "and more", f"{len(found) - MAX_SHOWN} further places like these")


@dataclass
class Image:
    """The image under test and the report about it: what every group of rules gets."""

    file: MachOFile
    report: Report

    @property
    def filetype(self) -> int:
        return int(self.file.header["filetype"])

    @property
    def is_executable(self) -> bool:
        return self.filetype == macho.MH_EXECUTE

    @property
    def is_arm64(self) -> bool:
        return int(self.file.header["cputype"]) == macho.CPU_TYPE_ARM64

    @property
    def page_size(self) -> int:
        """The page size of the machines that run this architecture."""
        return 0x4000 if self.is_arm64 else 0x1000

    @cached_property
    def segment_names(self) -> list[str]:
        """The name of each segment, in load command order."""
        return [text(name) for name in self.file.segments["segname"].tolist()]

    def segment_index(self, name: str) -> int | None:
        """The index of the first segment of this name."""
        return self.segment_names.index(name) if name in self.segment_names else None

    def segment_place(self, index: int, offset: int) -> str:
        """`segment __DATA+0x10`, whatever the numbers are."""
        known = index < len(self.segment_names)
        return f"segment {self.segment_names[index] if known else index}+{offset:#x}"

    def executable_ranges(self) -> list[tuple[int, int]]:
        """[start, end) of each segment that is mapped executable."""
        rows = self.file.segments
        mine = rows[rows["initprot"] & macho.VM_PROT_EXECUTE != 0]
        return [(int(r["vmaddr"]), int(r["vmaddr"]) + int(r["vmsize"])) for r in mine]

    def in_executable(self, address: int) -> bool:
        """Is this unslid address in an executable segment?"""
        return any(start <= address < end for start, end in self.executable_ranges())

    def readable(self, part: Callable[[], Any], place: str) -> Any:
        """`part()`; None and a range-in-file failure if the part lies outside the file."""
        try:
            return part()
        except FormatError as error:
            self.report.fail("range-in-file", place, error.message)
            return None
