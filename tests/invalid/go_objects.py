"""Go archives and objects that are wrong in one way each."""

from __future__ import annotations

import json
from collections.abc import Callable

from go_compile import Workshop
from go_inputs import RELEASE
from goobj_edit import GoObject, Member, edit_text_header, edited, join, member, object_of

from invalid.go_case import MAIN, Case

Edit = Callable[[list[Member]], None]
Damage = Callable[[bytes], bytes]


def in_archive(package: str, damage: Damage) -> Callable[[Workshop], tuple[str, ...]]:
    """Damage the archive of a package."""

    def prepare(work: Workshop) -> tuple[str, ...]:
        if package == "main":
            work.compile("main", MAIN)
        work.put(package, damage(work.path(package).read_bytes()))
        return ()

    return prepare


def in_members(
    package: str, edit: Edit, source: str = MAIN
) -> Callable[[Workshop], tuple[str, ...]]:
    """Change the members of the archive of a package."""

    def prepare(work: Workshop) -> tuple[str, ...]:
        if package == "main":
            work.compile("main", source)
        members = edited(work.path(package))
        edit(members)
        work.put(package, join(members))
        return ()

    return prepare


def in_object(
    edit: Callable[[GoObject], None], source: str = MAIN
) -> Callable[[Workshop], tuple[str, ...]]:
    """Change the Go object of package main."""
    return in_members("main", lambda members: edit(object_of(members)), source)


def header(old: bytes, new: bytes) -> Edit:
    """Replace text in the header of each object."""
    return lambda members: edit_text_header(members, old, new)


def with_member(name: str, body: bytes) -> Edit:
    """Add a member."""
    return lambda members: members.append(member(name, body))


def in_go_member(change: Callable[[bytes], bytes]) -> Edit:
    """Replace the body of the Go object."""

    def edit(members: list[Member]) -> None:
        each = next(m for m in members if m.name == "_go_.o")
        each.body[:] = change(bytes(each.body))

    return edit


def everywhere(edit: Edit) -> Callable[[Workshop], tuple[str, ...]]:
    """Change every archive."""

    def prepare(work: Workshop) -> tuple[str, ...]:
        work.compile("main", MAIN)
        for package in ("main", *work.packages):
            members = edited(work.path(package))
            edit(members)
            work.put(package, join(members))
        return ()

    return prepare


def with_directives(directives: object) -> Callable[[Workshop], tuple[str, ...]]:
    """Give package main these cgo directives."""
    text = directives if isinstance(directives, str) else json.dumps(directives)
    section = b"main\n\n\n$$  // cgo\n" + text.encode() + b"\n$$\n\n"
    return in_members("main", in_go_member(lambda body: body.replace(b"main\n\n", section, 1)))


def poke(
    block: str, row: int, field: str, value: int, source: str = MAIN
) -> Callable[[Workshop], tuple[str, ...]]:
    """Set a field of a record in the object of package main."""
    return in_object(lambda found: found.put(block, row, field, value), source)


def block_offset(index: int, value: int) -> Callable[[Workshop], tuple[str, ...]]:
    """Set the offset of a block in the header of the object of package main."""

    def edit(found: GoObject) -> None:
        at = found.offsets_at + 4 * index
        found.body[at : at + 4] = value.to_bytes(4, "little")

    return in_object(edit)


def call_reloc(field: str, value: int) -> Callable[[Workshop], tuple[str, ...]]:
    """Set a field of the relocation of the first call in main.main."""

    def edit(found: GoObject) -> None:
        for row in range(found.block("reloc")[1]):
            if found.get("reloc", row, "type") == 7 and found.get("reloc", row, "size") == 4:
                found.put("reloc", row, field, value)
                return

    return in_object(edit)


def long_names(found: GoObject) -> None:
    """Let all names share nearly all bytes of the object."""
    size = len(found.body) - found.base - 100
    for block, row, _ in list(found.symbols()):
        found.put(block, row, "name_offset", 0)
        found.put(block, row, "name_size", size)


def rename(old: bytes, new: bytes) -> Callable[[Workshop], tuple[str, ...]]:
    """Rename a symbol in the object of package main."""
    return in_object(lambda found: found.rename(old, new))


IMPORTING = 'package main\n\nimport "errors"\n\nfunc main() { panic(errors.New("x")) }\n'
MAIN_A = "main-….a"
MAIN_O = MAIN_A + "(_go_.o)"
REDO = "compile the package anew (go clean -cache, go build)"
MISMATCH = "linked object header mismatch: have "
NEW = f"go{RELEASE}".encode()

CASES = [
    Case(
        "empty file",
        in_archive("main", lambda a: b""),
        f"{MAIN_A}: not an object file: it is empty; compile the package anew",
    ),
    Case(
        "wrong archive magic",
        in_archive("main", lambda a: b"?" + a[1:]),
        f"{MAIN_A}: not an object file: it begins with b'?<arch>…'; give what go build "
        "compiles (an archive of Go objects)",
    ),
    Case(
        "text file",
        in_archive("main", lambda a: b"package main\n"),
        f"{MAIN_A}: not an object file: it is Go source text; compile it first (go build does)",
    ),
    Case(
        "archive without members",
        in_archive("main", lambda a: a[:8]),
        f"{MAIN_A}: not package main: give the archive of a command, whose package clause is main",
        "not package main",
    ),
    Case(
        "member header cut",
        in_archive("main", lambda a: a[: 8 + 30]),
        f"{MAIN_A}: malformed archive: bad header of the member at 0x8; {REDO}",
    ),
    Case(
        "member cut",
        in_archive("main", lambda a: a[:-1000]),
        f"{MAIN_A}: malformed archive: the member at 0x… is cut off; {REDO}",
    ),
    Case(
        "dependency cut",
        in_archive("internal/abi", lambda a: a[:-1000]),
        f"internal%abi-….a: malformed archive: the member at 0x… is cut off; {REDO}",
    ),
    Case(
        "member size no number",
        in_archive("main", lambda a: a[:56] + b"zz" + a[58:]),
        f"{MAIN_A}: malformed archive: bad header of the member at 0x8; {REDO}",
    ),
    Case(
        "member size huge",
        in_archive("main", lambda a: a[:56] + b"9" * 10 + a[66:]),
        f"{MAIN_A}: malformed archive: the member at 0x44 is cut off; {REDO}",
    ),
    Case(
        "object cut in its text",
        in_members("main", in_go_member(lambda o: o[:40])),
        f"{MAIN_O}: truncated object file: its header has no end; compile it anew",
        "truncated object file",
    ),
    Case(
        "object cut in its header",
        in_members("main", in_go_member(lambda o: o[: o.index(b"\0go120ld") + 50])),
        f"{MAIN_O}: truncated object file: its header is cut off; compile it anew",
    ),
    Case(
        "object cut in its blocks",
        in_members("main", in_go_member(lambda o: o[:-50])),
        f"{MAIN_O}: malformed object: a block lies outside of the file; compile the package anew",
    ),
    Case(
        "wrong object magic",
        in_members("main", in_go_member(lambda o: o.replace(b"\0go120ld", b"\0go120xx"))),
        f"{MAIN_O}: wrong magic b'\\x00go120xx', not b'\\x00go120ld': damaged, or of "
        "another Go release; compile it anew",
    ),
    Case(
        "old object format",
        in_members("main", in_go_member(lambda o: o.replace(b"\0go120ld", b"\0go118ld"))),
        f"{MAIN_O}: wrong magic b'\\x00go118ld', not b'\\x00go120ld': damaged, or of "
        "another Go release; compile it anew",
    ),
    Case(
        "older release",
        in_members("internal/abi", header(NEW, b"go1.25.1")),
        f'internal%abi-….a(_go_.o): {MISMATCH}"go object darwin amd64 go1.25.1 …"; pielink '
        "links objects of Go 1.26 and 1.27: compile everything with one of these",
        "linked object header mismatch",
    ),
    Case(
        "older release everywhere",
        everywhere(header(NEW, b"go1.25.1")),
        f'{MAIN_O}: {MISMATCH}"go object darwin amd64 go1.25.1 …"; pielink links …\n'
        f'…runtime-….a(_go_.o): {MISMATCH}"go object darwin amd64 go1.25.1 …"; …',
        "linked object header mismatch",
    ),
    Case(
        "mixed releases",
        in_members("internal/abi", header(NEW, b"go1.26.6")),
        f'internal%abi-….a(_go_.o): {MISMATCH}"go object darwin amd64 go1.26.6 …", want "go '
        f'object darwin amd64 go{RELEASE} …"; compile all packages with one Go release (-f '
        "links them as they are)",
        "linked object header mismatch",
    ),
    Case(
        "another architecture",
        in_members("main", header(b" amd64 ", b" arm64 ")),
        f'{MAIN_O}: {MISMATCH}"go object darwin arm64 …", want "go object darwin amd64 '
        '..."; compile it with GOOS=darwin GOARCH=amd64',
        "linked object header mismatch",
    ),
    Case(
        "another system",
        in_members("main", header(b" darwin ", b" linux ")),
        f'{MAIN_O}: {MISMATCH}"go object linux amd64 …", want "go object darwin amd64 ..."; '
        "compile it with GOOS=darwin GOARCH=amd64",
        "linked object header mismatch",
    ),
    Case(
        "an ELF object",
        in_members("main", with_member("c.o", b"\x7fELF" + bytes(100))),
        f"{MAIN_A}(c.o): not an object file: it is an ELF object; compile it for macOS "
        "(clang -target x86_64-apple-macos)",
    ),
    Case(
        "a Mach-O object for arm64",
        in_members(
            "main",
            with_member("c.o", bytes.fromhex("cffaedfe0c0000010000000001000000") + bytes(99)),
        ),
        f"{MAIN_A}(c.o): is compiled for arm64, not x86_64",
    ),
    Case(
        "a Mach-O object that is cut off",
        in_members("main", with_member("c.o", bytes.fromhex("cffaedfe07000001") + bytes(8))),
        f"{MAIN_A}(c.o): has 16 bytes, too few for a Mach-O header",
    ),
    Case(
        "a syso of no format",
        in_members("main", with_member("c.syso", b"?" * 100)),
        f"{MAIN_A}(c.syso): not an object file: it begins with b'…'; give what go build "
        "compiles (an archive of Go objects)",
    ),
    Case(
        "directives no JSON",
        with_directives("[["),
        f"{MAIN_O}: failed decoding cgo directives: Expecting value: …",
        "failed decoding cgo directives",
    ),
    Case(
        "directives no list",
        with_directives({"a": 1}),
        f"{MAIN_O}: failed decoding cgo directives: they are not lists of words",
        "failed decoding cgo directives",
    ),
    Case(
        "unknown directive",
        with_directives([["cgo_nonsense", "x"]]),
        f"{MAIN_O}: invalid cgo directive: cgo_nonsense x",
        "invalid cgo directive",
    ),
    Case(
        "directive too short",
        with_directives([["cgo_import_dynamic"]]),
        f"{MAIN_O}: invalid cgo directive: cgo_import_dynamic",
        "invalid cgo directive",
    ),
    Case(
        "main.main missing",
        rename(b"main.main", b"main.mine"),
        "runtime.main_main·f: function main is undeclared in the main package",
        "function main is undeclared in the main package",
    ),
    Case(
        "block out of bounds",
        block_offset(18, 0x7FFFFFFF),
        f"{MAIN_O}: malformed object: a block lies outside of the file; compile the package anew",
    ),
    Case(
        "blocks out of order",
        block_offset(3, 8),
        f"{MAIN_O}: malformed object: a block lies outside of the file; compile the package anew",
    ),
    Case(
        "a block not of whole records",
        block_offset(4, 0x121),
        f"{MAIN_O}: malformed object: a block's size is no multiple of its entries; compile "
        "the package anew",
    ),
    Case(
        "unknown kind",
        poke("symdef", 0, "kind", 250),
        f"{MAIN_O}: malformed object: symbol of unknown kind 250; compile the package anew",
    ),
    Case(
        "unknown ABI",
        poke("symdef", 0, "abi", 77),
        f"{MAIN_O}: malformed object: invalid symbol ABI 77; compile the package anew",
        "invalid symbol ABI",
    ),
    Case(
        "name out of bounds",
        poke("symdef", 0, "name_offset", 0xFFFFFF0),
        f"{MAIN_O}: malformed object: a symbol's name lies outside of the file; compile the "
        "package anew",
    ),
    Case(
        "names that share their bytes",
        in_object(long_names),
        f"{MAIN_O}: malformed object: its strings are larger than the file; "
        "compile the package anew",
    ),
    Case(
        "index out of bounds",
        poke("relocidx", 1, "value", 0xFFFFFF),
        f"{MAIN_O}: malformed object: an index block is out of bounds; compile the package anew",
    ),
    Case(
        "index not ascending",
        poke("dataidx", 1, "value", 0xFFFFFF),
        f"{MAIN_O}: malformed object: an index block is out of bounds; compile the package anew",
    ),
    Case(
        "reference to no package",
        call_reloc("package", 99),
        f"{MAIN_O}: malformed object: a reference names no package; compile the package anew",
    ),
    Case(
        "reference to no symbol",
        call_reloc("symbol", 9999),
        f"{MAIN_O}: malformed object: a reference names no symbol; compile both packages anew",
    ),
    Case(
        "relocation outside its symbol",
        call_reloc("offset", 99999),
        f"{MAIN_O}: main.main: R_CALL relocation at offset 0x1869f to runtime.printlock: it "
        "reaches outside its symbol",
        "relocation",
    ),
    Case(
        "relocation of a wrong width",
        call_reloc("size", 3),
        f"{MAIN_O}: main.main: R_CALL relocation at offset 0xf to runtime.printlock: 3 is "
        "not a width that can be relocated",
        "reloc",
    ),
    Case(
        "relocation of an unknown type",
        call_reloc("type", 300),
        f"{MAIN_O}: main.main: type 300 relocation at offset 0xf to runtime.printlock: "
        "internal linking knows no relocation of this type",
    ),
    Case(
        "aux of no symbol",
        poke("aux", 0, "symbol", 99999),
        f"{MAIN_O}: malformed object: a reference names no symbol; compile both packages anew",
    ),
    Case(
        "import path out of bounds",
        poke("autolib", 0, "offset", 0xFFFFFF, IMPORTING),
        f"{MAIN_O}: malformed object: a string lies outside of the file; compile the package anew",
    ),
    Case(
        "package name out of bounds",
        poke("pkgidx", 1, "offset", 0xFFFFFF, IMPORTING),
        f"{MAIN_O}: malformed object: a string lies outside of the file; compile the package anew",
    ),
]
