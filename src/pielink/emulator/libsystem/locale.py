"""Characters and locales: the C locale with UTF-8 for multibyte characters.

<ctype.h> of Darwin looks ASCII up in `_DefaultRuneLocale` and calls a function for the rest.
The functions that end in _l get a locale as a further last argument, which does not matter.

Source: <ctype.h>, <runetype.h>, <locale.h>, <xlocale.h>.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from pielink.emulator.libsystem.library import libsystem

if TYPE_CHECKING:
    from pielink.emulator.process import Process

ALPHA, CONTROL, DIGIT, GRAPH, LOWER = 0x100, 0x200, 0x400, 0x800, 0x1000
PUNCTUATION, SPACE, UPPER, XDIGIT, BLANK = 0x2000, 0x4000, 0x8000, 0x10000, 0x20000
PRINT = 0x40000
CLASSES = {
    "alnum": ALPHA | DIGIT,
    "alpha": ALPHA,
    "blank": BLANK,
    "cntrl": CONTROL,
    "digit": DIGIT,
    "graph": GRAPH,
    "lower": LOWER,
    "print": PRINT,
    "punct": PUNCTUATION,
    "space": SPACE,
    "upper": UPPER,
    "xdigit": XDIGIT,
}


def rune_type(code: int) -> int:
    """The class bits of a character; beyond ASCII, of Unicode's letters and spaces."""
    if code < 0 or code > 0x10FFFF:
        return 0
    char = chr(code)
    bits = 0
    if char.isalpha():
        bits |= ALPHA | (UPPER if char.isupper() else LOWER if char.islower() else 0)
    if 48 <= code <= 57:
        bits |= DIGIT
    if code < 128 and char in "0123456789abcdefABCDEF":
        bits |= XDIGIT | (int(char, 16))
    if code < 32 or 127 <= code < 160:
        bits |= CONTROL
    if char in " \t\n\v\f\r" or (code > 160 and char.isspace()):
        bits |= SPACE
    if char in " \t":
        bits |= BLANK
    if char.isprintable():
        bits |= PRINT | (0 if char == " " else GRAPH)
        if not char.isalnum() and char != " ":
            bits |= PUNCTUATION
    return bits


def lower(code: int) -> int:
    """The lower-case character."""
    text = chr(code).lower() if 0 <= code <= 0x10FFFF else ""
    return ord(text) if len(text) == 1 else code


def upper(code: int) -> int:
    """The upper-case character."""
    text = chr(code).upper() if 0 <= code <= 0x10FFFF else ""
    return ord(text) if len(text) == 1 else code


@libsystem.data("_DefaultRuneLocale", 3200)
def default_rune_locale(proc: Process, address: int) -> None:
    """struct _RuneLocale: magic, encoding, two functions, invalid rune, three tables of 256."""
    types = [rune_type(code) if code < 128 else 0 for code in range(256)]
    lowers = [lower(code) if code < 128 else code for code in range(256)]
    uppers = [upper(code) if code < 128 else code for code in range(256)]
    head = struct.pack("<8s32sQQi", b"RuneMagA", b"NONE", 0, 0, 0xFFFD)
    tables = struct.pack("<256I256i256i", *types, *lowers, *uppers)
    proc.memory.write(address, head + tables)


@libsystem.data("_CurrentRuneLocale", 8)
def current_rune_locale(proc: Process, address: int) -> None:
    default = proc.dyld.emulated_symbol(libsystem, "__DefaultRuneLocale")
    proc.memory.put_u64(address, default or 0)


@libsystem("int __maskrune(wint_t, unsigned long)", "__maskrune_l", "__istype", "__istype_l")
def maskrune(proc: Process, code: int, mask: int) -> int:
    return rune_type(code) & mask & 0x7FFF_FFFF


@libsystem("int __tolower(wint_t)", "tolower", "tolower_l", "__tolower_l", "towlower", "towlower_l")
def tolower(proc: Process, code: int) -> int:
    return lower(code)


@libsystem("int __toupper(wint_t)", "toupper", "toupper_l", "__toupper_l", "towupper", "towupper_l")
def toupper(proc: Process, code: int) -> int:
    return upper(code)


def _declare_classes() -> None:
    """isalpha and iswalpha, with their _l variants, for each class."""
    for name, mask in CLASSES.items():

        def narrow(proc: Process, code: int, mask: int = mask) -> int:
            return int(code < 128 and bool(rune_type(code) & mask))

        def wide(proc: Process, code: int, mask: int = mask) -> int:
            return int(bool(rune_type(code) & mask))

        libsystem(f"int is{name}(int)", f"is{name}_l")(narrow)
        libsystem(f"int isw{name}(wint_t)", f"isw{name}_l")(wide)


_declare_classes()


@libsystem("int isascii(int)")
def isascii(proc: Process, code: int) -> int:
    return int(0 <= code < 128)


@libsystem("unsigned int wctype(const char *)", "wctype_l")
def wctype(proc: Process, name: int) -> int:
    return CLASSES.get(proc.memory.string(name).decode("latin-1"), 0)


@libsystem("int iswctype(wint_t, unsigned int)", "iswctype_l")
def iswctype(proc: Process, code: int, mask: int) -> int:
    return int(bool(rune_type(code) & mask))


# -- locales: one locale exists; its name is what the program last set

_CATEGORIES = 7
_LCONV = struct.Struct("<10Q14b2x")
_CHAR_MAX = 127


class Locale:
    """The name of the locale, and struct lconv."""

    def __init__(self, proc: Process) -> None:
        self.proc = proc
        self.name = proc.allocate_data(64)
        proc.memory.write(self.name, b"C\0")
        strings = proc.allocate_data(16)
        proc.memory.write(strings, b".\0\0")
        point, empty = strings, strings + 2
        self.conventions = proc.allocate_data(_LCONV.size)
        texts = [point] + [empty] * 9
        proc.memory.write(self.conventions, _LCONV.pack(*texts, *[_CHAR_MAX] * 14))
        self.handle = proc.allocate_data(16)


@libsystem("char *setlocale(int, const char *)")
def setlocale(proc: Process, category: int, name: int) -> int:
    locale = proc.state(Locale)
    if not 0 <= category < _CATEGORIES:
        return 0
    if name:
        wanted = proc.memory.string(name, 63)
        if wanted not in (b"", b"C", b"POSIX") and not wanted.endswith(b"UTF-8"):
            return 0
        proc.memory.write(locale.name, (wanted or b"C") + b"\0")
    return locale.name


@libsystem("void *localeconv(void)", "localeconv_l")
def localeconv(proc: Process) -> int:
    return proc.state(Locale).conventions


@libsystem("void *newlocale(int, const char *, void *)")
def newlocale(proc: Process, mask: int, name: int, base: int) -> int:
    wanted = proc.memory.string(name, 63) if name else b"C"
    if wanted not in (b"", b"C", b"POSIX") and not wanted.endswith(b"UTF-8"):
        proc.memory.put_u32(proc.thread.errno_address, 2)
        return 0
    return proc.state(Locale).handle


@libsystem("void *uselocale(void *)", "duplocale")
def uselocale(proc: Process, locale: int) -> int:
    return proc.state(Locale).handle


@libsystem("int freelocale(void *)")
def freelocale(proc: Process, locale: int) -> None:
    """The one locale stays."""


@libsystem("const char *querylocale(int, void *)")
def querylocale(proc: Process, mask: int, locale: int) -> int:
    return proc.state(Locale).name


_LANGINFO = {0: b"UTF-8", 50: b".", 51: b"", 52: b"^[yY]", 53: b"^[nN]"}


@libsystem("char *nl_langinfo(int)", "nl_langinfo_l")
def nl_langinfo(proc: Process, item: int) -> int:
    text = _LANGINFO.get(item, b"") + b"\0"
    address = proc.allocate_data(len(text))
    proc.memory.write(address, text)
    return address
