"""Every flag of `go tool link` (Go 1.27) and of pielink itself: its kind, its field, its fate.

A flag works as it does there, or is accepted because it has no meaning for this target, or is
refused with the reason. docs/link-flags.md is made from this table; flags.py parses with it.
Source: cmd/link/internal/ld/main.go and config.go, cmd/internal/objabi/flag.go.
"""

from __future__ import annotations

from collections.abc import Callable

from pielink.hints import TYPE_CHECKING, Any
from pielink.options import BindTime, Definition, DyldInfoFormat, Version
from pielink.record import IntEnum, Record

if TYPE_CHECKING:
    from enum import Enum

_BOOLEANS = dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True) | dict.fromkeys(
    ("0", "f", "F", "false", "FALSE", "False"), False
)


def read_bool(text: str) -> bool:
    """A boolean as Go's strconv.ParseBool takes it; ValueError for anything else."""
    try:
        return _BOOLEANS[text]
    except KeyError:
        raise ValueError("parse error") from None


def read_int(text: str) -> int:
    """A signed 64-bit integer in Go's notation (0x, 0o, 0b, leading 0 for octal, underscores)."""
    sign, digits = (text[0], text[1:]) if text[:1] in ("+", "-") else ("", text)
    octal = len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567_"
    if digits[:1] in ("+", "-") or text != text.strip():
        raise ValueError("parse error")
    try:
        value = int(sign + ("0o" + digits[1:] if octal else digits), 0)
    except ValueError:
        raise ValueError("parse error") from None
    if not -(2**63) <= value < 2**63:
        raise ValueError("value out of range")
    return value


def read_address(text: str) -> int | None:
    """An address or size in bytes; -1 stands for the target's usual value (None)."""
    value = read_int(text)
    if value < -1:
        raise ValueError("negative address")
    return None if value == -1 else value


def read_words(text: str) -> tuple[str, ...]:
    """Words separated by white space; quotes around a whole word keep its spaces."""
    words, rest = [], text.lstrip()
    while rest:
        if rest[0] in "'\"":
            word, quote, rest = rest[1:].partition(rest[0])
            if not quote:
                raise ValueError("unterminated quote")
        else:
            word = rest.split(maxsplit=1)[0]
            rest = rest[len(word) :]
        words.append(word)
        rest = rest.lstrip()
    return tuple(words)


def read_choice(kind: type[Enum]) -> Callable[[str], Enum]:
    """A reader for the values of an enumeration."""

    def read(text: str) -> Enum:
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"want {' or '.join(str(m.value) for m in kind)}") from None

    return read


def read_version_kind(text: str) -> bool:
    """-V, -V=full and any other word ask for the version; only -V=false does not."""
    return text != "false"


class Kind(IntEnum):
    """How a flag takes its value: what follows its name, and whether it may stand alone."""

    BOOL = 0  # -flag, -flag=false; never takes the next argument
    COUNT = 1  # -flag adds one, -flag=N sets
    VALUE = 2  # -flag value, -flag=value; the last one wins
    LIST = 3  # as VALUE; each one is added


class Fate(IntEnum):
    """What becomes of a flag."""

    WORKS = 0
    NO_MEANING = 1
    REFUSED = 2


class Flag(Record):
    """One flag. `text` says what it does, or why it has no meaning, or why it is refused.

    `read` makes the value of its text and raises ValueError or UsageError. A refused flag is let
    pass with the value `harmless`, which asks for nothing.
    """

    name: str
    kind: Kind
    fate: Fate
    text: str
    field: str = ""  # of LinkOptions; "" where flags.py derives it or nothing needs it
    argument: str = ""  # the name of the value in --help
    read: Callable[[str], Any] = str
    harmless: Any = None


def _switch(name: str, text: str, field: str = "") -> Flag:
    return Flag(name, Kind.BOOL, Fate.WORKS, text, field, "", read_bool, None)


def _value(
    name: str, argument: str, text: str, field: str = "", read: Callable[[str], Any] = str
) -> Flag:
    return Flag(name, Kind.VALUE, Fate.WORKS, text, field, argument, read, None)


def _each(
    name: str, argument: str, text: str, field: str, read: Callable[[str], Any] = str
) -> Flag:
    return Flag(name, Kind.LIST, Fate.WORKS, text, field, argument, read, None)


def _unused_switch(name: str, text: str) -> Flag:
    return Flag(name, Kind.BOOL, Fate.NO_MEANING, text, "", "", read_bool, None)


def _unused_value(name: str, argument: str, text: str, read: Callable[[str], Any] = str) -> Flag:
    return Flag(name, Kind.VALUE, Fate.NO_MEANING, text, "", argument, read, None)


def _refused_switch(name: str, text: str, harmless: bool = False) -> Flag:
    return Flag(name, Kind.BOOL, Fate.REFUSED, text, "", "", read_bool, harmless)


def _refused_value(name: str, argument: str, text: str) -> Flag:
    return Flag(name, Kind.VALUE, Fate.REFUSED, text, "", argument, str, "")


GO_FLAGS: tuple[Flag, ...] = (
    _value(
        "B",
        "uuid",
        'LC_UUID: 0x and at most 32 hex digits, "gobuildid" (from the Go build ID; the default '
        'with -buildid) or "none"',
        "uuid",
    ),
    _value("D", "address", "start address of the data segment", "data_address", read_address),
    _value("E", "symbol", "entry symbol", "entry"),
    _value("H", "type", "header type: darwin"),
    _unused_value("I", "linker", "names the dynamic linker of ELF programs"),
    _each("L", "directory", "add to the package search path", "library_dirs"),
    _value("R", "quantum", "address rounding of segments", "round", read_address),
    _value("T", "address", "start address of the text section", "text_address", read_address),
    Flag("V", Kind.BOOL, Fate.WORKS, "print the version and exit", read=read_version_kind),
    _each(
        "X",
        "definition",
        "set a string variable: importpath.name=value",
        "definitions",
        Definition.parse,
    ),
    _unused_switch("a", "does nothing in go tool link either"),
    _refused_switch("asan", "the address sanitizer needs an external linker"),
    _refused_switch("aslr", "-aslr=false is only for -buildmode=c-shared on Windows", True),
    _value("benchmark", "kind", "print the time (cpu) or memory (mem) of each pass", "benchmark"),
    _refused_value(
        "benchmarkprofile",
        "base",
        "writes profiles of Go's own linker; for pielink use python -m cProfile -m pielink link",
    ),
    _unused_switch("bindnow", "marks ELF programs; for Mach-O see -bind"),
    _value("buildid", "id", "record the Go build ID", "build_id"),
    _value("buildmode", "mode", "exe (the default) or pie; the rest is refused, see Link mode"),
    _switch("c", "print the call graph", "dump_call_graph"),
    _refused_value(
        "capturehostobjs",
        "directory",
        "copies host objects for tests of Go's linker; `ar x` takes them out of the archives",
    ),
    _switch("checklinkname", "check linkname references (default true)", "check_linkname"),
    _switch("compressdwarf", "compress debug info (default true)", "compress_dwarf"),
    _refused_value(
        "cpuprofile",
        "file",
        "profiles Go's own linker; for pielink use python -m cProfile -m pielink link",
    ),
    _refused_switch("d", "macOS programs are dynamic executables: libSystem is a dylib"),
    _switch("debugnosplit", "print the nosplit call graph", "debug_nosplit"),
    _unused_value(
        "debugtextsize",
        "int",
        "splits text where branches are short; on amd64 they reach 2 GiB",
        read_int,
    ),
    _unused_value("debugtramp", "int", "tests trampolines, which amd64 does not need", read_int),
    _switch("dumpdep", "print the symbol dependency graph", "dump_dependencies"),
    _unused_switch("e", "pielink reports all errors of a pass, always"),
    _unused_value("extar", "program", "is for -buildmode=c-archive"),
    _value(
        "extld",
        "compiler",
        "a C++ compiler is asked for its static C++ library; it never links",
        "compiler",
        read_words,
    ),
    _value(
        "extldflags",
        "flags",
        "linker flags for host objects, as in LDFLAGS: -l, -L, -framework, -Wl,… and so on",
        "extldflags",
        read_words,
    ),
    _switch("f", "try objects of another Go release", "ignore_version"),
    _value("fipso", "file", "write the FIPS module to file", "fips_output"),
    _value("funcalign", "bytes", "alignment of functions", "function_align", read_int),
    _switch("g", "ignore the cgo directives of packages", "ignore_package_data"),
    _unused_switch("h", "crashes Go's linker at its first error, for its authors"),
    _value("importcfg", "file", "where the packages' archives are", "importcfg"),
    _value("installsuffix", "suffix", "suffix of the package directory", "install_suffix"),
    _refused_value(
        "k", "symbol", "field tracking is an experiment (GOEXPERIMENT=fieldtrack) of Go's linker"
    ),
    _unused_value("libgcc", "file", "names the compiler's library on ELF and Windows"),
    _value(
        "linkmode", "mode", "auto (the default) or internal; external is refused, see Link mode"
    ),
    _refused_switch("linkshared", "Go shared libraries exist on ELF systems only"),
    _value("macos", "version", "minimum macOS in LC_BUILD_VERSION", "macos", Version.parse),
    _value("macsdk", "version", "SDK version in LC_BUILD_VERSION", "macsdk", Version.parse),
    _refused_value(
        "memprofile", "file", "profiles Go's own linker; for pielink use python's tracemalloc"
    ),
    _unused_value("memprofilerate", "rate", "belongs to -memprofile", read_int),
    _refused_switch("msan", "the memory sanitizer does not exist on macOS"),
    _unused_switch("n", "does nothing in go tool link either"),
    _value("o", "file", "the output (default a.out)", "output"),
    _unused_value("pluginpath", "path", "is for -buildmode=plugin"),
    _switch("pruneweakmap", "drop unused map initializers (default true)", "prune_weak_map"),
    _unused_value("r", "path", "is the search path of ELF's dynamic linker"),
    _switch("race", "link with the race detector's run-time library", "race"),
    _value("randlayout", "seed", "order functions at random; 0: off", "random_layout", read_int),
    _switch("s", "leave out the symbol table and, unless -w=false, debug info", "strip_symbols"),
    _value(
        "strictdups",
        "level",
        "compare duplicate symbols: 1 warns, 2 fails",
        "strict_dups",
        read_int,
    ),
    _unused_value("tmpdir", "directory", "holds the external linker's files"),
    Flag("v", Kind.COUNT, Fate.WORKS, "print what is done; twice: more", "verbose", read=read_int),
    _switch("w", "leave out debug info"),
)

OWN_FLAGS: tuple[Flag, ...] = (
    _value(
        "bind", "time", "when stubs bind: now (the default) or lazy", "bind", read_choice(BindTime)
    ),
    _value(
        "dyldinfo",
        "format",
        "opcodes (the default) or chained (needs -macos 12 or later)",
        "dyld_info",
        read_choice(DyldInfoFormat),
    ),
    _switch("export-dynamic", "export every global symbol to dlsym", "export_dynamic"),
    _each("exported-symbol", "name", "export a symbol to dlsym", "exported_symbols"),
    _switch("verify", "relocate at two bases: what differs must be the rebases", "verify"),
)

FLAGS: dict[str, Flag] = {flag.name: flag for flag in (*GO_FLAGS, *OWN_FLAGS)}
