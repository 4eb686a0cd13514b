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

from pielink.arrays import distinct
from pielink.errors import LinkError, Problem
from pielink.golang import typedata
from pielink.golang.inittasks import InitTasks, init_tasks
from pielink.golang.release import Release
from pielink.passes.methods import Methods
from pielink.program import Program
from pielink.record import IntEnum, NamedTuple, Record
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


class Reach(Record):
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


class Marks(NamedTuple):
    """Markers of one kind: rows of Program.relocs, whose they are, what they refer to, addends."""

    row: I8
    source: I4
    target: I4
    addend: I8


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
            level = walk.mark([walk.methods.take_called()])
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
        self.methods = Methods(program, dynlink)
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
        entries = program.relocs.entries(level)
        row, owner = program.relocs.rows(entries)
        relocs = program.relocs.at(row)
        holders, auxes = program.auxes.chosen(entries, self.follow_aux.take)
        names, parts = ("package", "symbol"), (relocs, auxes)
        package, symbol = (np.concatenate([part[name] for part in parts]) for name in names)
        objects = entries.owner.take(np.concatenate([owner, holders]))
        targets = program.resolve(objects, package, symbol)
        action = self.action.take(relocs["type"])
        follow = np.flatnonzero(action == Action.FOLLOW)
        children = targets.take(follow)
        found = [children, targets[len(row) :]]
        if used.any():
            children = children.compress(used.take(owner.take(follow)))
            found.append(self.use_in_iface(children.compress(self.is_type(children))))
        for at, kind in self.markers(action):
            if kind == Action.METHODOFF:
                at = at.compress(used.take(owner.take(at)))
            addend = relocs["addend"].take(at)
            marks = Marks(row.take(at), level.take(owner.take(at)), targets.take(at), addend)
            found += MARKER_RULES[kind](self, marks)
        return found

    def markers(self, action: U1) -> list[tuple[I8, Action]]:
        """Where the markers among these actions are, kind by kind."""
        special = np.flatnonzero(action > Action.FOLLOW)
        kinds = action.take(special)
        return [(special.compress(kinds == k), Action(k)) for k in distinct(kinds).tolist()]

    def marked(self, marks: Marks) -> I4:
        """What these markers are about."""
        if not marks.target.all():
            slot = int(marks.source[np.argmin(marks.target)])
            raise typedata.malformed(self.program, slot, "has a marker that refers to nothing")
        return marks.target

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

    def see_methods(self, marks: Marks) -> list[I4]:
        """METHODOFF: methods of types used in an interface wait for a caller."""
        self.methods.add(marks.row, marks.source, marks.target)
        return [self.use_in_iface(marks.target[::3])]

    def see_conversion(self, marks: Marks) -> list[I4]:
        """USEIFACE: a type, or the concrete type of an itab, is converted to an interface."""
        types = self.marked(marks)
        itab = np.flatnonzero(self.program.slots.flags2[types] & FLAG2_ITAB)
        if len(itab):
            offsets = np.full(len(itab), typedata.ITAB_TYPE_OFFSET)
            types[itab] = typedata.relocation_target(self.program, types[itab], offsets)
        known = self.is_type(types)
        if not known.all():
            what = "is converted to an interface, but is neither a type nor an itab"
            raise typedata.malformed(self.program, int(types[np.argmin(known)]), what)
        return [self.use_in_iface(types)]

    def see_interface_calls(self, marks: Marks) -> list[I4]:
        """USEIFACEMETHOD: a method of an interface type is called."""
        self.methods.call(self.marked(marks), marks.addend)
        return []

    def see_named_calls(self, marks: Marks) -> list[I4]:
        """USENAMEDMETHOD: any method of that name is called."""
        self.methods.call_by_name(self.marked(marks))
        return []


MARKER_RULES = {
    Action.METHODOFF: _Walk.see_methods,
    Action.USEIFACE: _Walk.see_conversion,
    Action.USEIFACEMETHOD: _Walk.see_interface_calls,
    Action.USENAMEDMETHOD: _Walk.see_named_calls,
}


def _prune_map_inits(program: Program, walk: _Walk) -> tuple[I8, I4, int]:
    """Calls from live package initializers to unreached map initializers: rows, and who calls."""
    slots = program.slots
    candidates = (slots.flags2 & FLAG2_PKG_INIT) != 0
    inits = np.flatnonzero(candidates & walk.reachable).astype(np.int32)
    inits = inits[program.auxes.spans(inits)[1] > 0]
    row, owner = program.relocs.rows(inits)
    relocs = program.relocs.at(row)
    weak = relocs["type"] == Reloc.WEAK | Reloc.CALL
    row, source = row[weak], inits[owner[weak]]
    target = program.targets(slots.object[source], relocs[weak])
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
    _, auxes = program.auxes.chosen(added, walk.follow_aux.take)
    walk.mark([added, program.targets(slots.object[added], auxes)])
    return row, callers, noop
