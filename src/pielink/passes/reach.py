"""Which symbols are live: everything that can be reached from the entry, by Go's rules.

The walk goes level by level. The relocations and auxiliary symbols of one level's symbols, taken
as arrays, lead to the next level. A relocation either leads on (FOLLOW), is ignored (SKIP), or is
a marker by which the compiler tells something about types:

METHODOFF         comes in threes, for one method of the type that holds them: the type of the
                  method and its two functions. It does not lead on: a method is reached when
                  something can call it (see below).
USEIFACE          the type, or the concrete type of the itab, is converted to an interface. Such a
                  type is "used in an interface", and so are the types that it refers to, because
                  reflection gets from it to them. Its methods can then be called.
USEIFACEMETHOD    a method of an interface type, given by its offset there, is called.
USENAMEDMETHOD    some method of the name that the symbol holds is called.

A method of a type used in an interface is live if an interface method of the same name and type
is called, or a method of its name is, or if it is exported and a function is live that looks up
methods by names unknown to the compiler (FLAG_REFLECT_METHOD). New methods reach new code, which
may call more methods: the walk and the search for methods alternate until neither finds more.

A weak relocation does not lead on. If its target stays unreached although a package initializer
calls it (the outlined initialization of a map that nothing uses), that call goes to
runtime.mapinitnoop.

Source: cmd/link/internal/ld/deadcode.go; cmd/internal/objabi/reloctype.go.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pielink.arrays import (
    among,
    append,
    classes,
    differences,
    distinct,
)
from pielink.arraytypes import NDArray
from pielink.errors import LinkError, Problem
from pielink.formats.goobj import RELOC
from pielink.golang import typedata
from pielink.golang.inittasks import InitTasks, init_tasks
from pielink.golang.release import Release
from pielink.program import Program
from pielink.record import IntEnum, record
from pielink.tables import (
    ABI0,
    ABI_INTERNAL,
    FLAG2_ITAB,
    FLAG2_PKG_INIT,
    FLAG_GO_TYPE,
    FLAG_REFLECT_METHOD,
    I4,
    I8,
    U1,
    Aux,
    Bool,
    Reloc,
)

UNREACHABLE_METHOD = b"runtime.unreachableMethod"  # what unreached methods lead to
MAP_INIT_NOOP = b"runtime.mapinitnoop"


@record
class Reach:
    """What is live. Columns have one row per slot; only those of canonical slots are ever set."""

    reachable: Bool
    used_in_iface: Bool  # types that are converted to an interface, or reached from such
    tasks: InitTasks
    pruned_calls: I8  # rows of Program.relocs, ascending: weak calls, to go to `map_init_noop`
    pruned_callers: I4  # slots of the package initializers that make those calls
    map_init_noop: int  # slot; 0 if there are no pruned calls


class Action(IntEnum):
    """What a relocation means to the walk."""

    SKIP = 0
    FOLLOW = 1
    METHODOFF = 2
    USEIFACE = 3
    USEIFACEMETHOD = 4
    USENAMEDMETHOD = 5


class Reaching:
    """A walk over the live symbols that takes more roots as they become known.

    `entries` are names of symbols that are live in both ABIs. Weak calls, from package initializers
    to those of maps, keep nothing alive, unless `prune_weak_map` is off: then all map initializers
    stay. `dwarf` also follows the DWARF symbols of functions. `dynlink` is for programs that load
    plugins: every live type then counts as used in an interface, and all methods as called.
    Raises FormatError if a type descriptor or name makes no sense, LinkError if packages cannot
    be initialized in any order, or if runtime.mapinitnoop is needed and missing.
    """

    def __init__(
        self,
        program: Program,
        entries: Sequence[bytes],
        *,
        prune_weak_map: bool = True,
        dwarf: bool = False,
        dynlink: bool = False,
    ) -> None:
        self.program, self.prune_weak_map = program, prune_weak_map
        self.tasks = init_tasks(program)
        weak_calls = dynlink or not prune_weak_map
        self.walk = _Walk(program, dwarf, dynlink, weak_calls)
        self.roots = [roots(program, entries), self.tasks.main]

    def grow(self, slots: I4) -> Bool:
        """Follow everything from `entries` and these slots on; which slots are reached by now."""
        walk = self.walk
        level = walk.mark([*self.roots, slots])
        self.roots = []
        while len(level):
            walk.flood(level, self.tasks)
            level = walk.mark(walk.called_methods())
        return walk.reachable

    def finish(self) -> Reach:
        """What is live; the walk is over."""
        walk = self.walk
        pruned, callers, noop = np.empty(0, np.int64), np.empty(0, np.int32), 0
        if self.prune_weak_map:
            pruned, callers, noop = _prune_map_inits(self.program, walk)
        walk.reachable[0] = walk.used_in_iface[0] = False
        return Reach(walk.reachable, walk.used_in_iface, self.tasks, pruned, callers, noop)


def roots(program: Program, entries: Sequence[bytes], exports: I4 | None = None) -> I4:
    """The slots that are live whatever happens, but for the init tasks; see `Reaching`."""
    names = [(name, abi) for name in (*entries, UNREACHABLE_METHOD) for abi in (ABI0, ABI_INTERNAL)]
    found = program.lookup(names)
    return found if exports is None else np.concatenate([found, exports])


def actions(release: Release, weak_calls: bool) -> U1:
    """The Action of each relocation type, as found in an object (with Reloc.WEAK)."""
    table = np.full(0x10000, Action.FOLLOW, np.uint8)
    table[Reloc.WEAK :] = Action.SKIP
    if weak_calls:
        table[Reloc.WEAK | Reloc.CALL] = Action.FOLLOW
    table[[Reloc.USETYPE, release.reloc_initorder]] = Action.SKIP
    for marker in (Action.METHODOFF, Action.USEIFACE, Action.USEIFACEMETHOD, Action.USENAMEDMETHOD):
        table[Reloc[marker.name]] = marker
    return table


class _Walk:
    """The state of a walk: what is reached, and which methods wait for a caller."""

    def __init__(self, program: Program, dwarf: bool, dynlink: bool, weak_calls: bool) -> None:
        slots, count = program.slots, len(program.slots.canon)
        self.program = program
        self.reachable = np.zeros(count, np.bool_)
        self.used_in_iface = slots.used_in_iface.copy()
        if dynlink:
            self.used_in_iface |= (slots.flags & FLAG_GO_TYPE) != 0
        self.action = actions(program.release, weak_calls)
        self.follow_aux = np.ones(256, np.bool_)
        self.follow_aux[Aux.GOTYPE] = False
        self.follow_aux[Aux.DWARF_INFO : Aux.DWARF_LINES + 1] = dwarf
        self.methods = _Methods(program, dynlink)
        self.mark_number = np.empty(count, np.int32)  # scratch of `mark`

    def mark(self, found: list[I4]) -> I4:
        """Note these slots as reached; return those that were not, each once."""
        slots = np.concatenate(found)
        slots = slots.compress(~self.reachable.take(slots))
        number = np.arange(len(slots), dtype=np.int32)
        self.mark_number[slots] = number
        slots = slots.compress(self.mark_number.take(slots) == number)
        self.reachable[slots] = True
        return slots.compress(slots != 0)

    def flood(self, level: I4, tasks: InitTasks) -> None:
        """Follow everything from `level` on, but for the methods of types."""
        while len(level):
            found = self.follow(level)
            if tasks.runtime_slice and self.reachable[tasks.runtime_slice]:
                found.append(tasks.runtime)
            level = self.mark(found)

    def follow(self, level: I4) -> list[I4]:
        """What the relocations and the auxiliary symbols of these symbols lead to."""
        program, slots = self.program, self.program.slots
        flags = slots.flags.take(level)
        if (flags & FLAG_REFLECT_METHOD).any():
            self.methods.by_reflection = True
        used = ((flags & FLAG_GO_TYPE) != 0) & self.used_in_iface.take(level)
        row, owner = program.relocs.rows(level)
        relocs = program.relocs.at(row)
        action = self.action.take(relocs["type"])
        follow = np.flatnonzero(action == Action.FOLLOW)
        owners = owner.take(follow)
        holders, auxes = self.auxes(level)
        names, parts = ("package", "symbol"), (relocs.take(follow), auxes)
        package, symbol = (np.concatenate([part[name] for part in parts]) for name in names)
        objects = slots.object.take(level).take(np.concatenate([owners, holders]))
        targets = program.resolve(objects, package, symbol)
        found = [targets]
        if used.any():
            children = targets[: len(owners)].compress(used.take(owners))
            found.append(self.use_in_iface(children.compress(self.is_type(children))))
        for at, marker in self.markers(action):
            if marker == Action.METHODOFF:
                at = at.compress(used.take(owner.take(at)))
            found += MARKER_RULES[marker](self, row.take(at), level.take(owner.take(at)))
        return found

    def auxes(self, level: I4) -> tuple[I4, NDArray[np.void]]:
        """The auxiliary symbols to follow: which of `level` has each, and its record."""
        row, owner = self.program.auxes.rows(level)
        records = self.program.auxes.at(row)
        kept = np.flatnonzero(self.follow_aux.take(records["type"]))
        return owner.take(kept), records.take(kept)

    def markers(self, action: U1) -> list[tuple[I8, Action]]:
        """Where the markers among these actions are, kind by kind."""
        special = np.flatnonzero(action > Action.FOLLOW)
        kinds = action.take(special)
        return [(special.compress(kinds == k), Action(k)) for k in distinct(kinds).tolist()]

    def targets(self, row: I8, source: I4) -> I4:
        """What the relocations `row` of the symbols `source` refer to."""
        return self.program.targets(self.program.slots.object[source], self.program.relocs.at(row))

    def marked(self, row: I8, source: I4) -> I4:
        """What these markers are about."""
        found = self.targets(row, source)
        if not found.all():
            slot = int(source[np.argmin(found)])
            raise typedata.malformed(self.program, slot, "has a marker that refers to nothing")
        return found

    def is_type(self, slots: I4) -> Bool:
        """Which of these are type descriptors."""
        found: Bool = (self.program.slots.flags.take(slots) & FLAG_GO_TYPE) != 0
        return found

    def use_in_iface(self, types: I4) -> I4:
        """Note these types as used in an interface; return those to be walked once more."""
        fresh = types.compress(~self.used_in_iface.take(types))
        self.used_in_iface[fresh] = True
        again = fresh.compress(self.reachable.take(fresh))
        self.reachable[again] = False
        return again

    def see_methods(self, row: I8, source: I4) -> list[I4]:
        """METHODOFF: methods of types used in an interface wait for a caller."""
        self.methods.add(row, source)
        return [self.use_in_iface(self.targets(row[::3], source[::3]))]

    def see_conversion(self, row: I8, source: I4) -> list[I4]:
        """USEIFACE: a type, or the concrete type of an itab, is converted to an interface."""
        types = self.marked(row, source)
        itab = np.flatnonzero(self.program.slots.flags2[types] & FLAG2_ITAB)
        if len(itab):
            offsets = np.full(len(itab), typedata.ITAB_TYPE_OFFSET)
            types[itab] = typedata.relocation_target(self.program, types[itab], offsets)
        known = self.is_type(types)
        if not known.all():
            what = "is converted to an interface, but is neither a type nor an itab"
            raise typedata.malformed(self.program, int(types[np.argmin(known)]), what)
        return [self.use_in_iface(types)]

    def see_interface_calls(self, row: I8, source: I4) -> list[I4]:
        """USEIFACEMETHOD: a method of an interface type is called."""
        self.methods.call(self.marked(row, source), self.program.relocs.at(row)["addend"])
        return []

    def see_named_calls(self, row: I8, source: I4) -> list[I4]:
        """USENAMEDMETHOD: any method of that name is called."""
        self.methods.call_by_name(self.marked(row, source))
        return []

    def called_methods(self) -> list[I4]:
        """The types and functions of the methods that turned out to be callable."""
        row, source = self.methods.take_called()
        return [self.targets(row + part * RELOC.itemsize, source) for part in range(3)]


MARKER_RULES = {
    Action.METHODOFF: _Walk.see_methods,
    Action.USEIFACE: _Walk.see_conversion,
    Action.USEIFACEMETHOD: _Walk.see_interface_calls,
    Action.USENAMEDMETHOD: _Walk.see_named_calls,
}


class _Methods:
    """Methods that wait for a caller, and what is known of the callers.

    A signature is a number: that of the method's name, times 2**32, plus the slot of its type.
    """

    def __init__(self, program: Program, dynlink: bool) -> None:
        self.program = program
        self.dynlink = dynlink
        self.by_reflection = dynlink
        self.number_of_name: dict[bytes, int] = {}
        self.number_of_symbol = np.full(len(program.slots.canon), -1, np.int32)  # by slot
        self.exported: list[bool] = []  # by number of name
        self.waiting_row = np.empty(0, np.int64)  # rows in Program.relocs
        self.waiting_source = np.empty(0, np.int32)
        self.waiting_signature = np.empty(0, np.int64)
        self.fresh: list[tuple[I8, I4]] = []  # not yet among the waiting
        self.fresh_calls: list[tuple[I4, I8]] = []  # not yet among the called
        self.called = np.empty(0, np.int64)  # signatures, ascending
        self.called_names: set[int] = set()

    def add(self, row: I8, source: I4) -> None:
        """Take METHODOFF relocations; those of one type must be there together, in threes."""
        broken = len(row) % 3 != 0
        if not broken:
            first, second, third = row[0::3], row[1::3], row[2::3]
            step = RELOC.itemsize
            broken = bool(((second != first + step) | (third != second + step)).any())
            broken |= bool((source[0::3] != source[2::3]).any())
        if broken:
            raise typedata.malformed(
                self.program, int(source[0]), "or a type near it has a torn method relocation"
            )
        self.fresh.append((first, source[0::3]))

    def call(self, interfaces: I4, offsets: I8) -> None:
        """Note calls of the interface methods at these offsets of interface types."""
        self.fresh_calls.append((interfaces, offsets))

    def absorb_calls(self) -> None:
        """Find out the signatures of the methods that are called."""
        if not self.fresh_calls:
            return
        interfaces = np.concatenate([interfaces for interfaces, _ in self.fresh_calls])
        offsets = np.concatenate([offsets for _, offsets in self.fresh_calls])
        self.fresh_calls = []
        interface = typedata.kinds(self.program, interfaces) == typedata.INTERFACE
        if not interface.all():
            slot = int(interfaces[np.argmin(interface)])
            raise typedata.malformed(
                self.program, slot, "is not an interface, but is called as one"
            )
        names = typedata.relocation_target(self.program, interfaces, offsets)
        types = typedata.relocation_target(self.program, interfaces, offsets + 4)
        self.called = distinct(append(self.called, self.signatures(names, types)))

    def call_by_name(self, slots: I4) -> None:
        """Note calls of the methods whose names are the contents of these symbols."""
        start, size = self.program.contents.of(slots)
        for place in set(zip(start.tolist(), size.tolist(), strict=True)):
            self.called_names.add(self.number(self.program.memory.get(*place)))

    def take_called(self) -> tuple[I8, I4]:
        """Remove and return (first row, type) of the waiting methods that something can call."""
        self.absorb()
        self.absorb_calls()
        names = self.waiting_signature >> 32
        called = among(self.waiting_signature, self.called)
        if self.called_names:
            called |= among(names, np.array(sorted(self.called_names)))
        if self.by_reflection:
            called |= self.dynlink | np.array(self.exported, np.bool_)[names]
        taken = self.waiting_row[called], self.waiting_source[called]
        self.waiting_row = self.waiting_row[~called]
        self.waiting_source = self.waiting_source[~called]
        self.waiting_signature = self.waiting_signature[~called]
        return taken

    def absorb(self) -> None:
        """Find out the signatures of the fresh methods, and let them wait."""
        if not self.fresh:
            return
        row = np.concatenate([rows for rows, _ in self.fresh])
        source = np.concatenate([sources for _, sources in self.fresh])
        self.fresh = []
        offset = self.program.relocs.at(row)["offset"].astype(np.int64)
        self.check_records(offset, source)
        before = row - RELOC.itemsize
        names = typedata.relocation_target(self.program, source, offset - 4, guess=before)
        types = typedata.relocation_target(self.program, source, offset, guess=row)
        signature = self.signatures(names, types)
        self.waiting_row = np.concatenate([self.waiting_row, row])
        self.waiting_source = np.concatenate([self.waiting_source, source])
        self.waiting_signature = np.concatenate([self.waiting_signature, signature])

    def check_records(self, offset: I8, source: I4) -> None:
        """Each type must have one method record per three relocations, where they point."""
        first = np.flatnonzero(differences(source, before=-1))
        count = differences(first, end=len(source))
        start, expected = typedata.methods(self.program, source[first])
        place = np.arange(len(offset)) - np.repeat(first, count)
        wanted = np.repeat(start, count) + typedata.METHOD_SIZE * place + 4
        wrong = np.repeat(count != expected, count) | (offset != wanted)
        if wrong.any():
            slot = int(source[np.argmax(wrong)])
            raise typedata.malformed(self.program, slot, "has methods that its relocations miss")

    def signatures(self, names: I4, types: I4) -> I8:
        """The signatures of methods with these name symbols and types."""
        symbols, _, place = classes(names)
        fresh = symbols[self.number_of_symbol.take(symbols) < 0]
        texts = typedata.names(self.program, fresh)
        self.number_of_symbol[fresh] = [self.number(text) for text in texts]
        numbers = self.number_of_symbol.take(symbols).astype(np.int64)
        return numbers[place] << 32 | types

    def number(self, name: bytes) -> int:
        """The number of a name; numbers count up from 0."""
        number = self.number_of_name.setdefault(name, len(self.exported))
        if number == len(self.exported):
            self.exported.append(name.decode("utf-8", "replace")[:1].isupper())
        return number


def _prune_map_inits(program: Program, walk: _Walk) -> tuple[I8, I4, int]:
    """Calls from live package initializers to unreached map initializers: rows, and who calls."""
    slots = program.slots
    candidates = (slots.flags2 & FLAG2_PKG_INIT) != 0
    inits = np.flatnonzero(candidates & walk.reachable).astype(np.int32)
    inits = inits[program.auxes.spans(inits)[1] > 0]
    row, owner = program.relocs.rows(inits)
    weak = program.relocs.at(row)["type"] == Reloc.WEAK | Reloc.CALL
    row, source = row[weak], inits[owner[weak]]
    target = walk.targets(row, source)
    unused = ~walk.reachable[target]
    row, callers, target = np.sort(row[unused]), distinct(source[unused]), target[unused]
    for slot in target.tolist():
        if b"map.init" not in program.name(slot):
            raise typedata.malformed(program, slot, "is called weakly, but initializes no map")
    if not len(row):
        return row, callers, 0
    noop = program.find(MAP_INIT_NOOP, ABI_INTERNAL)
    if noop == 0:
        problem = Problem(
            "not defined, but unused map initializers need it", "", "runtime.mapinitnoop"
        )
        raise LinkError([problem])
    added = np.array([noop], np.int32)
    walk.mark([added, program.targets(slots.object[added], walk.auxes(added)[1])])
    return row, callers, noop
