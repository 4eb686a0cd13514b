"""Small Go programs made by hand or at random, as the tables that loading gives."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from object_records import Definition, put_blocks, with_blocks

from pielink.arrays import paired
from pielink.formats.goobj import PKG_SELF
from pielink.golang import typedata
from pielink.golang.release import RELEASES, Release
from pielink.names import NameIndex, keys
from pielink.passes.reach import Reach, Reaching
from pielink.program import PackageTable, Program
from pielink.records import auxiliaries, contents, relocations
from pielink.tables import (
    FLAG2_ITAB,
    FLAG2_PKG_INIT,
    FLAG_GO_TYPE,
    FLAG_REFLECT_METHOD,
    I4,
    Aux,
    Kind,
    Memory,
    Objects,
    Reloc,
    Slots,
)

OBJECTS = 3


@dataclass
class Ref:
    """One relocation; the target is a name, "" for none."""

    type: int
    target: str
    offset: int = 0
    addend: int = 0
    size: int = 0


@dataclass
class Sym:
    """One symbol; an auxiliary symbol is (Aux, name)."""

    name: str
    kind: Kind = Kind.TEXT
    content: bytes = b""
    refs: list[Ref] = field(default_factory=list)
    auxes: list[tuple[Aux, str]] = field(default_factory=list)
    flags: int = 0
    flags2: int = 0
    version: int = 0
    used_in_iface: bool = False


def program(
    symbols: Sequence[Sym], release: str = "1.27", rng: random.Random | None = None
) -> Program:
    """The tables of these symbols, spread over several objects; without `rng`, in their order.

    Slots are numbered object by object; Slots.order is the order of `symbols`.
    """
    rng = rng or random.Random(0)
    owner = [rng.randint(1, OBJECTS) for _ in symbols]
    parts = [[i for i, o in enumerate(owner) if o == row] for row in range(1, OBJECTS + 1)]
    order = [i for part in parts for i in part]
    slot_of = {symbols[i].name: slot for slot, i in enumerate(order, 1)}
    first = np.cumsum([1, *map(len, parts)])
    memory = Memory(np.zeros(1 << 20, np.uint8), 8)
    ordered = [symbols[i] for i in order]
    slots = _slots(ordered, [owner[i] for i in order], order, memory)
    names = np.arange(1, len(slots.canon), dtype=np.int32)
    columns = slots.name_offset[1:], slots.name_size[1:], slots.version[1:]
    index = NameIndex(memory, names, keys(memory, *columns), *columns)

    def reference(of: int, target: str) -> tuple[int, int]:
        if not target:
            return 0, 0
        to = int(slots.object[slot_of[target]])
        return (PKG_SELF if to == of else to), slot_of[target] - int(first[to - 1])

    objects = [owner[i] for i in order]
    definitions = [
        Definition(
            [(r.offset, r.size, r.type, r.addend, *reference(o, r.target)) for r in s.refs],
            [(k, *reference(o, t)) for k, t in s.auxes],
            s.content,
        )
        for s, o in zip(ordered, objects, strict=True)
    ]
    where = memory, _objects(memory, definitions), slots
    return Program(
        *where,
        relocations(*where),
        auxiliaries(*where),
        contents(*where),
        _packages(first, [len(part) for part in parts]),
        index,
        RELEASES[release],
    )


def _objects(memory: Memory, definitions: list[Definition]) -> Objects:
    """Objects that share their blocks: the records of all slots but 0."""
    rows = OBJECTS + 1
    blocks = with_blocks(np.zeros((rows, 19), np.int64), put_blocks(memory, definitions))
    return Objects(
        base=np.zeros(rows, np.int64),
        flags=np.zeros(rows, np.uint32),
        blocks=blocks,
        package=[f"p{i}" for i in range(rows)],
        file=[f"p{i}.a" for i in range(rows)],
        library=np.zeros(rows, np.int32),
        first=np.ones(rows, np.int32),
    )


def _packages(first: np.ndarray, count: list[int]) -> PackageTable:
    """Every object refers to itself, to nothing, and to all objects by their rows."""
    starts, firsts, counts = [0, 6], [0] * 6, [0] * 5 + [1]
    for row in range(OBJECTS):
        special = [int(first[row]), 0, 0, 0, 0, 0]
        firsts += [*special, *first[:-1].tolist()]
        counts += [count[row], 0, 0, 0, 0, 1, *count]
        starts.append(len(firsts))
    bounds = np.array(starts)
    return PackageTable(paired(bounds[:-1], bounds[1:]), paired(np.array(firsts), np.array(counts)))


def _slots(symbols: list[Sym], objects: list[int], order: list[int], memory: Memory) -> Slots:
    none = Sym("")
    rows = [none, *symbols]
    sizes = [len(s.content) for s in rows]
    names = [s.name.encode() for s in rows]
    kind = np.array([s.kind if s.name else 0 for s in rows], np.uint8)
    return Slots(
        canon=np.arange(len(rows), dtype=np.int32),
        object=np.array([0, *objects], np.int32),
        block=np.zeros(len(rows), np.uint8),
        name_offset=np.array([memory.add(n, 1) for n in names], np.int64),
        name_size=np.array([len(n) for n in names], np.uint32),
        version=np.array([s.version for s in rows], np.uint16),
        kind=kind,
        own_kind=kind,
        definition=np.arange(len(rows), dtype=np.int32),
        flags=np.array([s.flags for s in rows], np.uint8),
        flags2=np.array([s.flags2 for s in rows], np.uint8),
        size=np.array(sizes, np.int64),
        align=np.zeros(len(rows), np.uint32),
        order=np.array([0, *(i + 1 for i in order)], np.int32),
        local=np.zeros(len(rows), np.bool_),
        used_in_iface=np.array([s.used_in_iface for s in rows], np.bool_),
    )


def slot(of: Program, name: str) -> int:
    """The slot of the symbol with this name."""
    names = [of.name(s) for s in range(len(of.slots.canon))]
    return names.index(name.encode())


def name_symbol(name: str, text: str | None = None) -> Sym:
    """A symbol that holds a method's or type's name, by default its own."""
    data = (name if text is None else text).encode()
    length, varint = len(data), b""
    while length >= 0x80:
        varint, length = varint + bytes([length & 0x7F | 0x80]), length >> 7
    return Sym(name, Kind.RODATA, b"\1" + varint + bytes([length]) + data)


def type_symbol(
    name: str,
    kind: int,
    methods: Sequence[tuple[str, str, str, str]] = (),
    children: Sequence[str] = (),
    release: Release = RELEASES["1.27"],
) -> Sym:
    """A type descriptor; a method is the names of (name, type, function, function)."""
    extra = {**typedata.KIND_SIZE, typedata.MAP: typedata.MAP_SIZE[release.name]}.get(kind, 0)
    start = typedata.COMMON_SIZE + extra
    content = bytearray(start)
    content[typedata.KIND_OFFSET] = kind
    refs = [Ref(Reloc.ADDR, child, 48 + 8 * i, size=8) for i, child in enumerate(children)]
    if methods:
        content[typedata.FLAGS_OFFSET] = typedata.FLAG_UNCOMMON
        content += bytes(4) + len(methods).to_bytes(2, "little") + bytes(2)
        content += typedata.UNCOMMON_SIZE.to_bytes(4, "little") + bytes(4)
    for method in methods:
        at = len(content)
        refs.append(Ref(Reloc.ADDROFF, method[0], at, size=4))
        refs += [Ref(Reloc.METHODOFF, m, at + 4 * i, size=4) for i, m in enumerate(method) if i]
        content += bytes(typedata.METHOD_SIZE)
    return Sym(name, Kind.RODATA, bytes(content), refs, flags=FLAG_GO_TYPE)


def interface_symbol(name: str, methods: Sequence[tuple[str, str]]) -> Sym:
    """An interface type; a method is the names of (name, type). The records start at byte 80."""
    made = type_symbol(name, typedata.INTERFACE)
    made.content += bytes(8 * len(methods))
    for i, (method, type_) in enumerate(methods):
        made.refs.append(Ref(Reloc.ADDROFF, method, 80 + 8 * i, size=4))
        made.refs.append(Ref(Reloc.ADDROFF, type_, 84 + 8 * i, size=4))
    return made


def random_symbols(rng: random.Random) -> list[Sym]:
    """A program with every kind of marker; entry() and friends are always there.

    It has functions f*, data d*, types t*, interfaces i*, itabs b*, and method names that several
    types share.
    """
    texts = ["Read", "Write", "close", "Ärger", "ähnlich", "Z" * 200, "x"]
    names = [name_symbol(f"n{i}", rng.choice(texts)) for i in range(8)]
    count = rng.randint(4, 14)
    functions, types = [f"f{i}" for i in range(3 * count)], [f"t{i}" for i in range(count)]
    data, interfaces = [f"d{i}" for i in range(count)], [f"i{i}" for i in range(3)]
    itabs = [f"b{i}" for i in range(4)]
    everything = [*functions, *types, *data, *interfaces, *itabs]

    def method() -> tuple[str, str, str, str]:
        return (f"n{rng.randrange(8)}", rng.choice(types[:3]), *rng.choices(functions, k=2))

    made = [Sym(n, Kind.RODATA, t.encode()) for n, t in (("m0", "Read"), ("m1", "nowhere"))]
    for name in types:
        kind = rng.choice([2, typedata.STRUCT, typedata.MAP, typedata.POINTER])
        methods = [method() for _ in range(rng.choice([0, 0, 1, 3]))]
        children = rng.choices([*types, *interfaces, "d0"], k=rng.choice([0, 1, 2]))
        made.append(type_symbol(name, kind, methods, children))
        made[-1].used_in_iface = rng.random() < 0.1
    for name in interfaces:
        methods = [(f"n{rng.randrange(8)}", rng.choice(types[:3])) for _ in range(2)]
        made.append(interface_symbol(name, methods))
    for name in itabs:
        refs = [Ref(Reloc.ADDR, rng.choice(interfaces), 0, size=8)]
        refs.append(Ref(Reloc.ADDR, rng.choice(types), typedata.ITAB_TYPE_OFFSET, size=8))
        made.append(Sym(name, Kind.RODATA, bytes(24), refs, flags2=FLAG2_ITAB))
    for name in data:
        refs = [Ref(Reloc.ADDR, t, 8 * i, size=8) for i, t in enumerate(rng.choices(everything))]
        auxes = [(Aux.GOTYPE, rng.choice(types))]
        made.append(Sym(name, Kind.DATA, bytes(16), refs, auxes))
    for name in functions:
        made.append(_random_function(rng, name, everything, types, interfaces, itabs))
    return [*made, *names, *_always_there(rng, functions, data)]


def _random_function(
    rng: random.Random,
    name: str,
    everything: list[str],
    types: list[str],
    interfaces: list[str],
    itabs: list[str],
) -> Sym:
    choices = [
        lambda: Ref(Reloc.CALL, rng.choice(everything), size=4),
        lambda: Ref(Reloc.PCREL, rng.choice(everything), size=4),
        lambda: Ref(Reloc.WEAK | Reloc.ADDR, rng.choice(everything), size=8),
        lambda: Ref(Reloc.USETYPE, rng.choice(types)),
        lambda: Ref(Reloc.USEIFACE, rng.choice([*types, *itabs])),
        lambda: Ref(Reloc.USEIFACEMETHOD, rng.choice(interfaces), 0, rng.choice([80, 88])),
        lambda: Ref(Reloc.USENAMEDMETHOD, rng.choice(["m0", "m1"])),
        lambda: Ref(Reloc.CALLIND, ""),
        lambda: Ref(Reloc.KEEP, rng.choice(everything)),
    ]
    weights = [6, 6, 2, 1, 3, 2, 0.2, 1, 0.5]
    refs = [make() for make in rng.choices(choices, weights, k=rng.choice([0, 0, 1, 2, 4]))]
    for i, ref in enumerate(refs):
        ref.offset = 8 * i
    auxes = [(Aux.FUNCINFO, rng.choice(everything)), (Aux.DWARF_INFO, rng.choice(everything))]
    flags = FLAG_REFLECT_METHOD if rng.random() < 0.02 else 0
    return Sym(name, Kind.TEXT, bytes(64), refs, [*auxes, (Aux.FUNCDATA, "")], flags)


def _always_there(rng: random.Random, functions: list[str], data: list[str]) -> list[Sym]:
    """The entry, the init tasks, an initializer with a prunable call, and what they need."""
    order = RELEASES["1.27"].reloc_initorder
    init = Sym(
        "p.init", Kind.TEXT, bytes(16), [Ref(Reloc.WEAK | Reloc.CALL, "p.map.init.0", 4, 0, 4)]
    )
    init.flags2, init.auxes = FLAG2_PKG_INIT, [(Aux.FUNCINFO, "")]
    tasks = [
        Sym("main..inittask", Kind.NOPTR_DATA, bytes(16)),
        Sym("runtime..inittask", Kind.NOPTR_DATA, bytes(16)),
        Sym("p..inittask", Kind.NOPTR_DATA, bytes(16), [Ref(Reloc.ADDR, "p.init", 8, size=8)]),
        Sym("q..inittask", Kind.NOPTR_DATA, bytes(8)),
    ]
    imports = [tasks[2], *rng.sample([tasks[1], tasks[3]], rng.randint(0, 2))]
    tasks[0].refs = [Ref(order, t.name) for t in imports]
    tasks[2].refs += [Ref(order, "q..inittask")]
    tasks[1].refs = [Ref(Reloc.ADDR, rng.choice(functions), 8, size=8)]
    entry = Sym("entry", refs=[Ref(Reloc.CALL, f, size=4) for f in rng.sample(functions, 2)])
    slice_user = [Ref(Reloc.PCREL, "runtime.runtime_inittasks", size=4)] * rng.randint(0, 1)
    return [
        *(entry, init, *tasks),
        Sym("entry.1", refs=slice_user),
        Sym("p.map.init.0", refs=[Ref(Reloc.ADDR, rng.choice(data), size=8)]),
        Sym("runtime.runtime_inittasks", Kind.BSS),
        Sym("runtime.unreachableMethod", version=1),
        Sym("runtime.mapinitnoop", version=1, auxes=[(Aux.FUNCINFO, "noop.info")]),
        Sym("noop.info", Kind.RODATA),
    ]


def reach(
    program: Program, entries: Sequence[bytes], exports: I4 | None = None, **options: bool
) -> Reach:
    """What is live; the further roots `exports` become known in two steps."""
    reaching = Reaching(program, entries, **options)
    slots = np.empty(0, np.int32) if exports is None else exports
    for half in (slots[::2], slots[1::2]):
        reaching.grow(half)
    return reaching.finish()
