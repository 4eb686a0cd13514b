"""The linker flags of `#cgo LDFLAGS`, as a C compiler driver and Apple's ld read them.

Words after -Wl, and -Xlinker are ld's own; the rest is the driver's. Each flag is a row of one of
the two tables: how its argument is written, and which field it adds to; or why it is refused.
Sources: ld(1) of ld64, clang's command-line reference.
"""

from __future__ import annotations

from collections.abc import Sequence

from pielink.errors import UsageError
from pielink.record import IntEnum, Mutable, NamedTuple, StrEnum, fresh


class Kind(StrEnum):
    """How an input is found."""

    FILE = "file"
    LIBRARY = "library"
    FRAMEWORK = "framework"


class Input(NamedTuple):
    """One input, in the order of the command line.

    `force_load`: every member of the archive is linked; `weak`: the library may be missing when
    the program runs.
    """

    kind: Kind
    name: str
    force_load: bool = False
    weak: bool = False


class LinkerFlags(Mutable):
    """What LDFLAGS ask for. Lists keep the order of the command line."""

    inputs: list[Input] = fresh(factory=list)
    library_dirs: list[str] = fresh(factory=list)
    framework_dirs: list[str] = fresh(factory=list)
    roots: list[str] = fresh(factory=list)
    rpaths: list[str] = fresh(factory=list)
    undefined: list[str] = fresh(factory=list)  # -u: roots of the link
    maybe_undefined: list[str] = fresh(factory=list)  # -U: looked up when it runs
    exported: list[str] = fresh(factory=list)
    export_all: bool = False
    all_load: bool = False
    objc: bool = False
    dylibs_first: bool = False
    no_standard_dirs: bool = False
    dynamic_lookup: bool = False  # every undefined symbol is looked up when the program runs


class Form(IntEnum):
    """How the argument of a flag is written."""

    ALONE = 0
    NEXT = 1  # -flag ARG
    JOINED = 2  # -flagARG
    EITHER = 3  # -flagARG or -flag ARG


class Flag(NamedTuple):
    """`field` of LinkerFlags (a list gets the argument, a bool becomes True), or an input's kind.

    With neither, the flag has no meaning here; `refusal` says why it cannot be obeyed.
    """

    form: Form = Form.ALONE
    field: str = ""
    kind: Kind | None = None
    force_load: bool = False
    weak: bool = False
    refusal: str = ""


_IGNORED = Flag()
_IGNORED_NEXT = Flag(Form.NEXT)
_NO_LTO = "pielink links object files, not LLVM bitcode; compile without -flto"
_SHARED = "pielink links executables only"

# Flags that ld and the compiler driver both know.
COMMON: dict[str, Flag] = {
    "-l": Flag(Form.EITHER, kind=Kind.LIBRARY),
    "-L": Flag(Form.EITHER, "library_dirs"),
    "-F": Flag(Form.EITHER, "framework_dirs"),
    "-framework": Flag(Form.NEXT, kind=Kind.FRAMEWORK),
    "-weak_framework": Flag(Form.NEXT, kind=Kind.FRAMEWORK, weak=True),
    "-weak-l": Flag(Form.JOINED, kind=Kind.LIBRARY, weak=True),
    "-needed-l": Flag(Form.JOINED, kind=Kind.LIBRARY),
    "-needed_framework": Flag(Form.NEXT, kind=Kind.FRAMEWORK),
    "-weak_library": Flag(Form.NEXT, kind=Kind.FILE, weak=True),
    "-force_load": Flag(Form.NEXT, kind=Kind.FILE, force_load=True),
    "-all_load": Flag(field="all_load"),
    "-noall_load": _IGNORED,
    "-ObjC": Flag(field="objc"),
    "-u": Flag(Form.EITHER, "undefined"),
    "-exported_symbol": Flag(Form.NEXT, "exported"),
    "-export_dynamic": Flag(field="export_all"),
    "-dead_strip": _IGNORED,  # C code is always dead-stripped
    "-arch": _IGNORED_NEXT,
    "-r": Flag(refusal=_SHARED),
    "-dynamiclib": Flag(refusal=_SHARED),
    "-bundle": Flag(refusal=_SHARED),
    "-undefined": Flag(Form.NEXT, "dynamic_lookup"),
}
LINKER: dict[str, Flag] = COMMON | {
    "-U": Flag(Form.NEXT, "maybe_undefined"),
    "-Z": Flag(field="no_standard_dirs"),
    "-syslibroot": Flag(Form.NEXT, "roots"),
    "-rpath": Flag(Form.NEXT, "rpaths"),
    "-search_dylibs_first": Flag(field="dylibs_first"),
    "-search_paths_first": _IGNORED,
    "-needed_library": Flag(Form.NEXT, kind=Kind.FILE),
    "-pie": _IGNORED,
    "-no_pie": Flag(refusal="ask for it with -buildmode=exe"),
    "-w": _IGNORED,
    "-x": _IGNORED,
    "-S": _IGNORED,
    "-no_compact_unwind": _IGNORED,
    "-no_warn_duplicate_libraries": _IGNORED,
    "-no_weak_imports": _IGNORED,
    "-no_uuid": Flag(refusal="macOS 15 and later want a UUID in every program"),
    "-multiply_defined": _IGNORED_NEXT,
    "-headerpad_max_install_names": _IGNORED,
    "-headerpad": _IGNORED_NEXT,
    "-platform_version": Flag(refusal="ask for a version with -ldflags=-macos=X.Y"),
    "-macosx_version_min": Flag(refusal="ask for a version with -ldflags=-macos=X.Y"),
    "-sectcreate": Flag(refusal="sections out of files are not supported; use //go:embed"),
    "-stack_size": Flag(
        refusal="Go sets up its own stacks; threads take pthread_attr_setstacksize"
    ),
    "-alias": Flag(refusal="aliases are not supported; define the second name in the source"),
    "-order_file": Flag(refusal="the order of functions is that of Go's linker"),
    "-unexported_symbol": Flag(refusal="nothing is exported unless it is asked for"),
    "-exported_symbols_list": Flag(refusal="name each with -Wl,-exported_symbol,NAME"),
    "-force_symbols_coalesce_list": _IGNORED_NEXT,
    "-interposable": Flag(refusal=_SHARED),
    "-flat_namespace": Flag(refusal="a Go program uses two-level names, as dyld wants them"),
    "-dylib": Flag(refusal=_SHARED),
}
DRIVER: dict[str, Flag] = COMMON | {
    "-isysroot": Flag(Form.NEXT, "roots"),
    "--sysroot=": Flag(Form.JOINED, "roots"),
    "--sysroot": Flag(Form.NEXT, "roots"),
    "-rdynamic": Flag(field="export_all"),
    "-pthread": _IGNORED,
    "-mmacosx-version-min=": Flag(Form.JOINED),
    "-mmacos-version-min=": Flag(Form.JOINED),
    "-target": _IGNORED_NEXT,
    "--target=": Flag(Form.JOINED),
    "-fuse-ld=": Flag(Form.JOINED),
    "-stdlib=": Flag(Form.JOINED),
    "-flto": Flag(refusal=_NO_LTO),
    "-flto=": Flag(Form.JOINED, refusal=_NO_LTO),
    "-fsanitize=": Flag(Form.JOINED, refusal="sanitizers need Apple's run-time libraries"),
    "-fprofile-": Flag(Form.JOINED, refusal="profiling needs the compiler's run-time library"),
    "-static": Flag(refusal="macOS has no static libSystem"),
    "-shared": Flag(refusal=_SHARED),
    "-nostdlib": Flag(refusal="a Go program needs libSystem"),
    "-no-pie": Flag(refusal="ask for it with -buildmode=exe"),
    "-pie": _IGNORED,
    "-f": Flag(Form.JOINED),
    "-g": Flag(Form.JOINED),
    "-O": Flag(Form.JOINED),
    "-m": Flag(Form.JOINED),
    "-W": Flag(Form.JOINED),
    "-std=": Flag(Form.JOINED),
    "-D": Flag(Form.EITHER),
    "-I": Flag(Form.EITHER),
}


def parse(words: Sequence[str]) -> LinkerFlags:
    """Read the words of LDFLAGS (already split as a shell would).

    Raises UsageError for a flag that is not known, lacks its argument, or cannot be obeyed.
    """
    flags = LinkerFlags()
    for known, part in _grouped(words):
        rest = iter(part)
        for word in rest:
            if not word.startswith("-"):
                flags.inputs.append(Input(Kind.FILE, word))
                continue
            name, flag = _look_up(known, word)
            argument = word[len(name) :]
            if flag.form is Form.NEXT or (flag.form is Form.EITHER and not argument):
                argument = next(rest, "")
                if not argument:
                    raise UsageError(f"LDFLAGS: {word} lacks its argument")
            if flag.refusal:
                raise UsageError(f"LDFLAGS: {word} is not supported: {flag.refusal}")
            _obey(flags, flag, argument)
    return flags


def _grouped(words: Sequence[str]) -> list[tuple[dict[str, Flag], list[str]]]:
    """Split words into runs for the driver and for the linker (-Wl,A,B and -Xlinker A)."""
    groups: list[tuple[dict[str, Flag], list[str]]] = []

    def add(table: dict[str, Flag], parts: Sequence[str]) -> None:
        if not groups or groups[-1][0] is not table:
            groups.append((table, []))
        groups[-1][1].extend(parts)

    rest = iter(words)
    for word in rest:
        if word.startswith("-Wl,"):
            add(LINKER, word[4:].split(","))
        elif word == "-Xlinker":
            add(LINKER, [next(rest, "-Xlinker")])
        else:
            add(DRIVER, [word])
    return groups


def _look_up(known: dict[str, Flag], word: str) -> tuple[str, Flag]:
    """Return the row for `word`: its whole name, or the longest that it begins with."""
    exact = known.get(word)
    if exact:
        return word, exact
    for length in range(len(word) - 1, 1, -1):
        flag = known.get(word[:length])
        if flag and flag.form in (Form.JOINED, Form.EITHER):
            return word[:length], flag
    raise UsageError(f"LDFLAGS: {word} is not a linker flag that pielink knows")


def _obey(flags: LinkerFlags, flag: Flag, argument: str) -> None:
    if flag.kind:
        flags.inputs.append(Input(flag.kind, argument, flag.force_load, flag.weak))
    elif flag.field == "dynamic_lookup":
        if argument not in ("dynamic_lookup", "error"):
            raise UsageError(f"LDFLAGS: -undefined {argument} is not supported: use dynamic_lookup")
        flags.dynamic_lookup = argument == "dynamic_lookup"
    elif flag.field and flag.form is Form.ALONE:
        setattr(flags, flag.field, True)
    elif flag.field:
        getattr(flags, flag.field).append(argument)
