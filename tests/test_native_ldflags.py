"""LDFLAGS of cgo: what each flag means, and what is refused."""

from __future__ import annotations

import pytest

from pielink.errors import UsageError
from pielink.native.ldflags import DRIVER, LINKER, Form, Input, Kind, LinkerFlags, parse


def test_inputs_keep_their_order() -> None:
    line = "a.o -lz -l m -framework CoreFoundation b.a -Wl,-force_load,c.a -weak-lx "
    line += "-Wl,-weak_framework,Metal -Xlinker -weak_library -Xlinker w.dylib"
    flags = parse(line.split())
    assert flags.inputs == [
        Input(Kind.FILE, "a.o"),
        Input(Kind.LIBRARY, "z"),
        Input(Kind.LIBRARY, "m"),
        Input(Kind.FRAMEWORK, "CoreFoundation"),
        Input(Kind.FILE, "b.a"),
        Input(Kind.FILE, "c.a", force_load=True),
        Input(Kind.LIBRARY, "x", weak=True),
        Input(Kind.FRAMEWORK, "Metal", weak=True),
        Input(Kind.FILE, "w.dylib", weak=True),
    ]


def test_directories_and_names() -> None:
    line = "-L/a -L /b -F/c -isysroot /sdk --sysroot=/sdk2 -Wl,-rpath,/r -Wl,-rpath -Wl,/s -u _x "
    line += "-Wl,-u,_y -Wl,-U,_z -Wl,-exported_symbol,_e -ObjC -Wl,-all_load -rdynamic "
    line += "-Wl,-search_dylibs_first -undefined dynamic_lookup"
    flags = parse(line.split())
    assert flags == LinkerFlags(
        library_dirs=["/a", "/b"],
        framework_dirs=["/c"],
        roots=["/sdk", "/sdk2"],
        rpaths=["/r", "/s"],
        undefined=["_x", "_y"],
        maybe_undefined=["_z"],
        exported=["_e"],
        export_all=True,
        all_load=True,
        objc=True,
        dylibs_first=True,
        dynamic_lookup=True,
    )


def test_flags_without_a_meaning_here_change_nothing() -> None:
    words = "-g -O2 -pthread -arch x86_64 -mmacosx-version-min=11.0 -Wl,-dead_strip -Wl,-pie -fPIC"
    assert parse(words.split()) == LinkerFlags()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("-Wl,-nosuch", "-nosuch is not a linker flag that pielink knows"),
        ("-nosuch", "-nosuch is not a linker flag that pielink knows"),
        ("-framework", "-framework lacks its argument"),
        ("-L", "-L lacks its argument"),
        ("-Xlinker", "-Xlinker is not a linker flag"),
        ("-flto", "-flto is not supported: .*compile without -flto"),
        ("-flto=thin", "compile without -flto"),
        ("-fsanitize=address", "-fsanitize=address is not supported"),
        ("-Wl,-no_pie", "ask for it with -buildmode=exe"),
        ("-undefined suppress", "use dynamic_lookup"),
        ("-static", "macOS has no static libSystem"),
    ],
)
def test_what_is_refused(words: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(words.split())


def test_every_row_of_the_tables_is_obeyed_or_refused() -> None:
    for prefix, table in (("", DRIVER), ("-Wl,", LINKER)):
        for name, flag in table.items():
            argument = {"-undefined": "error"}.get(name, "value")
            joined = flag.form in (Form.JOINED, Form.EITHER)
            words = [prefix + name + (argument if joined else "")]
            if flag.form is Form.NEXT:
                words.append(prefix + argument)
            if flag.refusal:
                with pytest.raises(UsageError, match="is not supported: "):
                    parse(words)
                continue
            found = parse(words)
            changed = found != LinkerFlags()
            assert changed == bool(flag.kind or (flag.field and name != "-undefined")), name
