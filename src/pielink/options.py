"""What one link is asked to do: a typed record, made by the command line or by a caller in Python.

The names say what a field means; the flag of `go tool link` that sets it stands beside it.
golang/flags.py parses argv into this record, docs/link-flags.md tells people.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from pielink.errors import UsageError
from pielink.hints import Self
from pielink.record import NamedTuple, Record, StrEnum

# Programs lie in the lower half of what user space has, so that they can slide.
ADDRESS_LIMIT = 1 << 46
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")
LARGEST_ROUND = 1 << 24  # the file is padded to multiples of it


class BuildMode(StrEnum):
    """What the output is; only executables are linked, position-independent (PIE) or not."""

    EXE = "exe"
    PIE = "pie"


class DyldInfoFormat(StrEnum):
    """How fixups are told to dyld: LC_DYLD_INFO_ONLY opcodes or LC_DYLD_CHAINED_FIXUPS."""

    OPCODES = "opcodes"
    CHAINED = "chained"


class BindTime(StrEnum):
    """When function stubs bind: at load, or at the first call through the stub helper."""

    NOW = "now"
    LAZY = "lazy"


class Version(NamedTuple):
    """An X.Y.Z version as LC_BUILD_VERSION holds it: 16, 8 and 8 bits."""

    major: int
    minor: int = 0
    patch: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "13", "13.0" or "13.0.0"; UsageError if it is none of these or out of range."""
        parts = text.split(".")
        if not 1 <= len(parts) <= 3 or not all(p.isascii() and p.isdigit() for p in parts):
            raise UsageError(f"invalid version {text!r}: want X, X.Y or X.Y.Z")
        version = cls(*map(int, parts))
        if version.major > 0xFFFF or version.minor > 0xFF or version.patch > 0xFF:
            raise UsageError(f"invalid version {text!r}: at most 65535.255.255")
        return version

    def encoded(self) -> int:
        """The 32-bit form of LC_BUILD_VERSION: xxxx.yy.zz in nibbles."""
        return self.major << 16 | self.minor << 8 | self.patch

    def __str__(self) -> str:
        return ".".join(map(str, self))


class Definition(NamedTuple):
    """One -X: the string variable `symbol` (importpath.name) starts out as `value`."""

    symbol: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "importpath.name=value"; UsageError if it has another form."""
        variable, equals, value = text.partition("=")
        if not equals or "." not in variable:
            raise UsageError("-X flag requires argument of the form importpath.name=value")
        return cls(variable, value)


class BuildConfig(Record):
    """What `go tool link` takes from the environment, not from its flags."""

    goarch: str = "amd64"  # GOARCH
    goroot: str = ""  # GOROOT: becomes runtime.defaultGOROOT and the last library directory; or ""
    goexperiment: str = ""  # GOEXPERIMENT
    goextlink: str = ""  # GO_EXTLINK_ENABLED: "0", "1" or ""; decides -linkmode=auto

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the Go variables of `environ`; GOOS, if set, must be darwin (UsageError)."""
        goos, goarch = environ.get("GOOS") or "darwin", environ.get("GOARCH") or "amd64"
        if goos != "darwin" or goarch != "amd64":
            raise UsageError(
                f"pielink links for darwin/amd64, not for {goos}/{goarch}: "
                "set GOOS=darwin GOARCH=amd64, or use go tool link"
            )
        return cls(
            goarch=goarch,
            goroot=environ.get("GOROOT", ""),
            goexperiment=environ.get("GOEXPERIMENT", ""),
            goextlink=environ.get("GO_EXTLINK_ENABLED", ""),
        )


class LinkOptions(Record):
    """One link: `LinkOptions(main="main.a", output="hello", importcfg="importcfg.link")`.

    Defaults are those of `go tool link`, but for build_mode: here a PIE, there an exe.
    Addresses and sizes are in bytes; None means "the target's usual value".
    """

    # Inputs and output.
    main: str  # the archive of package main
    output: str = "a.out"  # -o
    importcfg: str = ""  # -importcfg: where packages are; "": search library_dirs
    library_dirs: tuple[str, ...] = ()  # -L, in order
    install_suffix: str = ""  # -installsuffix
    config: BuildConfig = BuildConfig()

    # What is made.
    build_mode: BuildMode = BuildMode.PIE  # -buildmode
    build_id: str = ""  # -buildid: the Go build ID
    uuid: str = ""  # -B: "" (hash of the content), "gobuildid", "none" or "0x" and hex
    definitions: tuple[Definition, ...] = ()  # -X, in order; the last one of a symbol wins
    strip_symbols: bool = False  # -s
    strip_dwarf: bool = False  # -w; the command line derives it from -s where -w is not given
    compress_dwarf: bool = True  # -compressdwarf
    macos: Version | None = None  # -macos: minimum macOS; None: what the inputs' Go release says
    macsdk: Version | None = None  # -macsdk: SDK stamp; None: likewise
    fips_output: str = ""  # -fipso: also write the FIPS module's bytes to this file
    race: bool = False  # -race

    # Layout.
    entry: str = ""  # -E: entry symbol; "": _rt0_amd64_darwin
    text_address: int | None = None  # -T
    data_address: int | None = None  # -D
    round: int | None = None  # -R: segment rounding, a power of two of at least 4096
    function_align: int = 0  # -funcalign: a power of two; 0: the architecture's
    random_layout: int = 0  # -randlayout: seed of the function order; 0: off

    # What is checked and kept, as in `go tool link`.
    strict_dups: int = 0  # -strictdups: 1 warns, 2 fails on duplicates that differ in content
    check_linkname: bool = True  # -checklinkname
    prune_weak_map: bool = True  # -pruneweakmap
    ignore_version: bool = False  # -f: objects of another Go release are tried
    ignore_package_data: bool = False  # -g: cgo directives in the archives are not read

    # Host objects and libraries.
    compiler: tuple[str, ...] = ()  # -extld: a C++ compiler is asked for its static C++ library
    extldflags: tuple[str, ...] = ()  # -extldflags: read as after the LDFLAGS of the cgo packages

    # What is printed.
    verbose: int = 0  # -v, counted
    dump_call_graph: bool = False  # -c
    dump_dependencies: bool = False  # -dumpdep
    debug_nosplit: bool = False  # -debugnosplit
    benchmark: str = ""  # -benchmark: "", "mem" or "cpu"

    # pielink's own.
    dyld_info: DyldInfoFormat = DyldInfoFormat.OPCODES  # -dyldinfo
    bind: BindTime = BindTime.NOW  # -bind
    exported_symbols: tuple[str, ...] = ()  # -exported-symbol, as in C (without the underscore)
    export_dynamic: bool = False  # -export-dynamic: export every global symbol
    verify: bool = False  # -verify: relocate at two bases; what differs must be the rebase set

    def __post_init__(self) -> None:
        """Check what the types cannot say; UsageError names the flag and the value."""
        if self.round is not None and not (
            4096 <= self.round <= LARGEST_ROUND and _power_of_two(self.round)
        ):
            raise UsageError(
                f"invalid -R value {self.round:#x}: want a power of two from 0x1000 "
                f"to {LARGEST_ROUND:#x}"
            )
        if self.function_align and not (
            self.function_align <= 4096 and _power_of_two(self.function_align)
        ):
            raise UsageError(
                f"invalid -funcalign value {self.function_align}: want a power of two up to 4096"
            )
        for flag, address in (("-T", self.text_address), ("-D", self.data_address)):
            if address is not None and not 0 <= address < ADDRESS_LIMIT:
                raise UsageError(f"invalid {flag} value {address:#x}: not below {ADDRESS_LIMIT:#x}")
        if self.data_address is not None and self.data_address % (self.round or 4096):
            raise UsageError(f"invalid -D value {self.data_address:#x}: not a multiple of -R")
        if self.benchmark not in ("", "cpu", "mem"):
            raise UsageError(f"invalid -benchmark value {self.benchmark!r}: want cpu or mem")
        self._check_dyld_info()
        self._check_uuid()

    def _check_dyld_info(self) -> None:
        """What dyld is told must be what it understands."""
        chained = self.dyld_info == DyldInfoFormat.CHAINED
        if chained and self.macos and self.macos.major < 12:
            raise UsageError(f"-dyldinfo=chained needs -macos 12 or later, not {self.macos}")
        if chained and self.bind == BindTime.LAZY:
            raise UsageError("-dyldinfo=chained binds at load: leave out -bind=lazy")
        if self.build_mode != BuildMode.PIE and (chained or self.bind == BindTime.LAZY):
            flag = "-dyldinfo=chained" if chained else "-bind=lazy"
            raise UsageError(f"{flag} needs -buildmode=pie")

    def _check_uuid(self) -> None:
        """-B takes what LC_UUID can hold: 16 bytes, named or in hex."""
        if self.uuid in ("", "none"):
            return
        if self.uuid == "gobuildid":
            if not self.build_id:
                raise UsageError("-B gobuildid requires a Go build ID supplied via -buildid")
            return
        digits = self.uuid.removeprefix("0x")
        if digits == self.uuid or len(digits) not in range(0, 33, 2) or set(digits) - _HEX_DIGITS:
            raise UsageError(
                f'invalid -B value {self.uuid!r}: want "gobuildid", "none", '
                "or 0x and an even number of hex digits, at most 32"
            )


def _power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0
