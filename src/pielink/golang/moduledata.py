"""runtime.firstmoduledata: where the runtime finds every table that the linker makes.

The variable is declared in runtime/symtab.go (type moduledata); its fields are given here, one
row each, in the order in which they lie. What follows the last of them is zero: the runtime's
own state. The fields differ between Go releases, and so there is a list for each.

Source: symtab() and textsectionmap() in cmd/link/internal/ld/symtab.go, dodataSect in ld/data.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pielink.errors import FormatError, LinkError, Problem
from pielink.golang.pclntab import PclnTables
from pielink.hints import TYPE_CHECKING
from pielink.record import IntEnum, NamedTuple
from pielink.rows import NewReloc, NewSymbol
from pielink.tables import Kind

if TYPE_CHECKING:
    from pielink.program import Program

WORD = 8
NAME, TYPE_NAME = "runtime.firstmoduledata", b"type:runtime.moduledata"
LAST_NAME, TEXT_MAP_NAME = "runtime.lastmoduledatap", "runtime.textsectionmap"
OPTIONAL = ("inittasks",)  # zero if there is no such symbol
FIRST_FUNCTION, LAST_FUNCTION = "(first function)", "(last function)"


class Form(IntEnum):
    """How a field is made. ADDRESS, END and NUMBER take 8 bytes, SLICE and COUNTED 24."""

    ADDRESS = 1  # of the symbol
    END = 2  # address of the symbol, plus its size
    NUMBER = 3  # one of the numbers that the caller gives, by the field's name
    SLICE = 4  # address of the symbol, its size divided by `unit`, the same again
    COUNTED = 5  # as SLICE, but with one of the caller's numbers
    ZERO = 6  # `unit` bytes, for what only plugins and shared libraries have
    TRUE = 7  # the byte 1


class Field(NamedTuple):
    """One field: its name in runtime/symtab.go, form, symbol, and a size in bytes."""

    name: str
    form: Form
    symbol: str = ""
    unit: int = 1


def _markers(*names: str) -> tuple[Field, ...]:
    return tuple(Field(name, Form.ADDRESS, f"runtime.{name}") for name in names)


_TABLES = (
    Field("pcHeader", Form.ADDRESS, "runtime.pcheader"),
    Field("funcnametab", Form.SLICE, "runtime.funcnametab"),
    Field("cutab", Form.SLICE, "runtime.cutab", 4),
    Field("filetab", Form.SLICE, "runtime.filetab"),
    Field("pctab", Form.SLICE, "runtime.pctab"),
    Field("pclntable", Form.SLICE, "runtime.functab"),
    Field("ftab", Form.COUNTED, "runtime.functab"),
    Field("findfunctab", Form.ADDRESS, "runtime.findfunctab"),
    Field("minpc", Form.ADDRESS, FIRST_FUNCTION),
    Field("maxpc", Form.END, LAST_FUNCTION),
    *_markers("text", "etext", "noptrdata", "enoptrdata", "data", "edata", "bss", "ebss"),
    *_markers("noptrbss", "enoptrbss", "covctrs", "ecovctrs", "end", "gcdata", "gcbss"),
)
_READ_ONLY = (
    *_markers("rodata"),
    Field("gofunc", Form.ADDRESS, "go:func.*"),
    *_markers("epclntab"),
    Field("textsectmap", Form.COUNTED, TEXT_MAP_NAME),
)
_REST = (
    Field("ptab", Form.ZERO, unit=24),
    Field("pluginpath", Form.ZERO, unit=16),
    Field("pkghashes", Form.ZERO, unit=24),
    Field("inittasks", Form.SLICE, "go:main.inittasks", WORD),
    Field("modulename", Form.ZERO, unit=16),
    Field("modulehashes", Form.ZERO, unit=24),
    Field("hasmain", Form.TRUE),
)
FIELDS: dict[str, tuple[Field, ...]] = {
    "1.26": (
        *_TABLES,
        *_markers("types", "etypes"),
        *_READ_ONLY,
        Field("typelinks", Form.SLICE, "runtime.typelink", 4),
        Field("itablinks", Form.SLICE, "runtime.itablink", WORD),
        *_REST,
    ),
    "1.27": (
        *_TABLES,
        *_markers("types"),
        Field("typedesclen", Form.NUMBER),
        *_markers("etypes"),
        Field("itaboffset", Form.NUMBER),
        Field("itabsize", Form.NUMBER),
        *_READ_ONLY,
        *_REST,
    ),
}


def module_data(
    program: Program,
    row: Callable[[str], int],
    size: Callable[[int], int],
    tables: PclnTables,
    numbers: Mapping[str, int],
) -> NewSymbol:
    """What runtime.firstmoduledata becomes: kind, size, content and relocations.

    `row` leads from a name in FIELDS to a row of Symbols (0: there is none), `size` from a row to
    its size in bytes. `numbers` has what the layout of __go_type finds, in bytes: typedesclen,
    the end of the descriptors with the typelink flag; itaboffset, where itabs begin; itabsize, of
    all itabs. Before the layout it may be empty: size and relocations do not depend on it, and a
    second call gives the content.

    Raises LinkError if a symbol is missing, FormatError if the type is malformed.
    """
    numbers = {"ftab": tables.function_count + 1, "textsectmap": 1, **numbers}
    ends = {FIRST_FUNCTION: tables.first_function, LAST_FUNCTION: tables.last_function}
    content = bytearray()
    relocs: list[NewReloc] = []
    for part in FIELDS[program.release.name]:
        target = ends.get(part.symbol) or (row(part.symbol) if part.symbol else 0)
        if target:
            addend = size(target) if part.form is Form.END else 0
            relocs.append(NewReloc(len(content), target, addend=addend))
        elif part.symbol and part.name not in OPTIONAL:
            raise LinkError([Problem(f"missing symbol {part.symbol}", symbol=NAME)])
        content += _words(part, size(target) if target else 0, numbers)
    whole = _type_size(program)
    if whole < len(content):
        raise FormatError(f"malformed type: {NAME} has {whole} bytes, at least {len(content)} used")
    return NewSymbol(NAME, Kind.MODULE_DATA, bytes(content), size=whole, relocs=relocs)


def _words(part: Field, size: int, numbers: Mapping[str, int]) -> bytes:
    """The bytes of one field; addresses are zero until relocation."""
    match part.form:
        case Form.ADDRESS | Form.END:
            return bytes(WORD)
        case Form.NUMBER:
            return numbers.get(part.name, 0).to_bytes(WORD, "little")
        case Form.SLICE:
            return bytes(WORD) + (size // part.unit).to_bytes(WORD, "little") * 2
        case Form.COUNTED:
            return bytes(WORD) + numbers[part.name].to_bytes(WORD, "little") * 2
        case Form.ZERO:
            return bytes(part.unit)
        case Form.TRUE:
            return b"\x01"


def _type_size(program: Program) -> int:
    """Bytes of a moduledata, from its type descriptor."""
    slot = program.find(TYPE_NAME, 0)
    place, size = program.content(slot)
    if size < WORD:
        name = TYPE_NAME.decode()
        raise LinkError([Problem(f"{name}: type descriptor is missing", symbol=NAME)])
    return int.from_bytes(program.memory.get(place, WORD), "little")


def text_section_map(text_row: int, text_size: int) -> NewSymbol:
    """runtime.textsectionmap: start and end of the one text section, and its address.

    `text_row` is the row of runtime.text, `text_size` the size of __text in bytes.
    """
    content = bytes(WORD) + text_size.to_bytes(WORD, "little") + bytes(WORD)
    relocs = [NewReloc(2 * WORD, text_row)]
    return NewSymbol(TEXT_MAP_NAME, Kind.RODATA, content, relocs=relocs)


def last_module_data(row: int) -> NewSymbol:
    """What the row of runtime.lastmoduledatap becomes: a pointer to the moduledata at `row`."""
    return NewSymbol(LAST_NAME, Kind.NOPTR_DATA, bytes(WORD), relocs=[NewReloc(0, row)])
