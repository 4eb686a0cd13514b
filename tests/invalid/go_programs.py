"""Go programs, import configurations, flags and outputs that cannot be linked."""

from __future__ import annotations

from collections.abc import Callable

from go_compile import Workshop
from goobj_edit import edited, join, object_of

from invalid.go_case import MAIN, Case

UNLINKABLE = 8
Prepare = Callable[[Workshop], tuple[str, ...]]


def program(source: str, assembly: str = "", *flags: str) -> Prepare:
    """Compile a package main."""

    def prepare(work: Workshop) -> tuple[str, ...]:
        work.compile("main", source, assembly)
        return flags

    return prepare


def sound(*flags: str) -> Prepare:
    """A program that links, but for these flags."""
    return program(MAIN, "", *flags)


def not_main(work: Workshop) -> tuple[str, ...]:
    """Another package in the place of main."""
    work.main = work.compile("example/other", "package other\n\nfunc F() {}\n")
    return ()


def two_definitions(work: Workshop) -> tuple[str, ...]:
    """Two packages whose assembly defines one name."""
    text = "TEXT twice(SB), 4, $0-0\n\tRET\nTEXT ·F(SB), 4, $0-0\n\tCALL twice(SB)\n\tRET\n"
    for name in ("one", "two"):
        work.compile(f"example/{name}", f"package {name}\n\nfunc F()\n", text)
    calls = "func main() { one.F(); two.F() }"
    work.compile("main", f'package main\n\nimport ("example/one"; "example/two")\n\n{calls}\n')
    return ()


def two_packages(first: str, second: str) -> Prepare:
    """Compile main against one version of a package, link it with another."""

    def prepare(work: Workshop) -> tuple[str, ...]:
        work.compile("example/part", first)
        work.compile("main", 'package main\n\nimport "example/part"\n\nfunc main() { part.F() }\n')
        work.compile("example/part", second)
        return ()

    return prepare


def import_cycle(work: Workshop) -> tuple[str, ...]:
    """Two packages that import each other."""
    work.compile("example/one", "package one\n\nfunc F() {}\n")
    work.compile("example/two", 'package two\n\nimport "example/one"\n\nfunc F() { one.F() }\n')
    work.compile("example/one", 'package one\n\nimport "example/two"\n\nfunc F() { two.F() }\n')
    work.compile("main", 'package main\n\nimport "example/one"\n\nfunc main() { one.F() }\n')
    members = edited(work.path("example/two"))
    fingerprint = object_of(edited(work.path("example/one"))).fingerprint
    object_of(members).expect(b"example/one", fingerprint)
    work.put("example/two", join(members))
    return ()


def unlinkable(work: Workshop) -> tuple[str, ...]:
    """A package with the mark of the compiler that its import path is not known."""
    work.compile("main", MAIN)
    members = edited(work.main)
    object_of(members).set_flag(UNLINKABLE)
    work.put("main", join(members))
    return ()


def wrong_abi(work: Workshop) -> tuple[str, ...]:
    """Assembly that calls a Go function of another package, for which there is no wrapper."""
    work.compile("example/part", "package part\n\nfunc F() {}\n")
    source = 'package main\n\nimport _ "example/part"\n\nfunc f()\n\nfunc main() { f() }\n'
    work.compile("main", source, "TEXT ·f(SB), 4, $0-0\n\tCALL example\u2215part·F(SB)\n\tRET\n")
    return ()


def without(package: str) -> Prepare:
    """Leave a package out of the importcfg."""

    def prepare(work: Workshop) -> tuple[str, ...]:
        work.compile(
            "main", 'package main\n\nimport "errors"\n\nfunc main() { panic(errors.New("x")) }\n'
        )
        del work.packages[package]
        return ()

    return prepare


def configured(*lines: str) -> Prepare:
    """Add lines to the importcfg."""

    def prepare(work: Workshop) -> tuple[str, ...]:
        work.compile("main", MAIN)
        work.lines += lines
        return ()

    return prepare


UNDEFINED = """package main

func x()
func y()

//go:noinline
func f() { x() }

func main() {
	x()
	x()
	y()
	f()
}
"""
LINKNAME = """package main

import _ "unsafe"

//go:linkname gopark runtime.nanotime1
func gopark() int64

func main() { println(gopark()) }
"""
VARIABLES = (
    'package main\n\nvar number = 1\nvar text = "a"\n\nfunc main() { println(number, text) }\n'
)

CASES = [
    Case(
        "undefined functions",
        program(UNDEFINED, "// no function\n"),
        "main.f: relocation target main.x not defined\n"
        "main.main: relocation target main.x not defined\n"
        "main.main: relocation target main.y not defined",
        "main.main: relocation target main.x not defined",
    ),
    Case(
        "another ABI",
        wrong_abi,
        "main.f: relocation target example/part.F not defined for ABI0 "
        "(but is defined for ABIInternal)",
        "relocation target example/part.F not defined for ABI0 (but is defined for ABIInternal)",
    ),
    Case(
        "not package main",
        not_main,
        "package.a: not package main: give the archive of a command, whose package clause is main",
        "not package main",
    ),
    Case(
        "defined twice",
        two_definitions,
        "package.a(package.o): twice: duplicated definition of symbol, also in "
        "…one-…/package.a(package.o) (TEXT size 1, there TEXT size 1); remove or rename one",
        "duplicated definition of symbol",
    ),
    Case(
        "fingerprint mismatch",
        two_packages("package part\n\nfunc F() {}\n", "package part\n\nfunc F() {}\nfunc G() {}\n"),
        "package.a: fingerprint mismatch: example/part has …, import from main expecting "
        "…; rebuild both packages",
        "fingerprint mismatch: example/part has",
    ),
    Case(
        "import cycle",
        import_cycle,
        "example%two-….a: import cycle through example/one; remove one of the imports",
        "import cycle",
    ),
    Case(
        "compiled without -p",
        unlinkable,
        "main-….a(_go_.o): unlinkable object: compile it with -p and the import path",
        "unlinkable object",
    ),
    Case(
        "missing package",
        without("errors"),
        "package.a: cannot find package errors (using -importcfg): its packagefile lines "
        "do not name it; go build names all",
        "cannot find package errors (using -importcfg)",
    ),
    Case(
        "missing runtime",
        without("runtime"),
        "internal%….a: cannot find package runtime (using -importcfg): its packagefile "
        "lines do not name it; go build names all",
        "cannot find package runtime (using -importcfg)",
    ),
    Case(
        "linkname",
        program(LINKNAME, "// none\n"),
        "package.a(_go_.o): invalid reference to runtime.nanotime1 by go:linkname: its "
        "package does not permit it (-checklinkname=0 turns this check off)",
        "invalid reference to runtime.nanotime1",
    ),
    Case(
        "-X of an int",
        program(VARIABLES, "", "-X=main.number=2"),
        "main.number: cannot set with -X: not a var of type string (type:int)",
        "main.number: cannot set with -X: not a var of type string (type:int)",
    ),
    Case(
        "-E of nothing",
        sound("-E=nosuch"),
        'missing entry symbol "nosuch": -E takes the name of an assembly function, such as '
        "_rt0_amd64_darwin",
        'missing entry symbol "nosuch"',
    ),
    Case(
        "-E of a variable",
        program(VARIABLES, "", "-E=main.number"),
        "main.number: entry not text: -E takes the name of a function",
        "main.number: entry not text",
    ),
    Case(
        "archive missing",
        configured("packagefile runtime=/no/such/runtime.a"),
        "/no/such/runtime.a: cannot open file: No such file or directory",
        "cannot open file",
    ),
    Case(
        "packagefile without file",
        configured("packagefile nothing"),
        'importcfg:…: invalid packagefile: syntax is "packagefile path=filename"',
        'invalid packagefile: syntax is "packagefile path=filename"',
    ),
    Case(
        "unknown directive",
        configured("nonsense here"),
        'importcfg:…: unknown directive "nonsense"',
        'unknown directive "nonsense"',
    ),
    Case(
        "bad modinfo",
        configured('modinfo "a'),
        "importcfg:…: invalid modinfo: invalid syntax",
        "invalid modinfo: invalid syntax",
    ),
    Case(
        "modinfo with half a character",
        configured('modinfo "\\ud800"'),
        "importcfg:…: invalid modinfo: invalid syntax",
        "invalid modinfo: invalid syntax",
    ),
    Case(
        "modinfo with a byte too large",
        configured('modinfo "\\777"'),
        "importcfg:…: invalid modinfo: invalid syntax",
        "invalid modinfo: invalid syntax",
    ),
    Case(
        "file name with a zero byte",
        configured("packagefile runtime=a\0b"),
        'importcfg:…: invalid packagefile: syntax is "packagefile path=filename"',
    ),
    Case(
        "-T without room for the headers",
        sound("-T=0x1000"),
        "-T: __TEXT would begin at 0x0, which is no multiple of a page above page 0; "
        "try -T=0x1001000",
    ),
    Case(
        "-T inside a page",
        sound("-T=0x1001020"),
        "-T: __TEXT would begin at 0x1000020, which is no multiple of a page above page 0; "
        "try -T=0x1001000",
    ),
    Case(
        "-D inside the text",
        sound("-D=0x1001000"),
        "-D: __DATA would begin at 0x1001000, but what is before it ends at 0x…; "
        "choose a higher address",
    ),
    Case(
        "packageshlib",
        configured("packageshlib a=b"),
        "importcfg:…: packageshlib: Go shared libraries do not exist on macOS",
    ),
]
