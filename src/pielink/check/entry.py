"""Rules of what runs first: the entry point, the initializers, and thread-local variables."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from pielink.check.header import LOADER, UNSAFE_HEADER
from pielink.check.rule import Image, Rule
from pielink.errors import FormatError
from pielink.formats import macho
from pielink.inspect.columns import Columns

VALID_MAIN = "dyld common/MachOAnalyzer.cpp validMain"
INITIALIZERS = "dyld mach_o/Image.cpp validInitializers"
THREAD_LOCALS = "dyld libdyld/ThreadLocalVariables.cpp"
# flavor, words of state, index of the program counter in 64-bit words
THREAD_STATES = {macho.CPU_TYPE_X86_64: (4, 42, 16), macho.CPU_TYPE_ARM64: (6, 68, 32)}
DESCRIPTOR = 24  # bytes of a thread-local variable's descriptor: thunk, key, offset

RULES = (
    Rule(
        "entry-once",
        "an executable has just one LC_MAIN or LC_UNIXTHREAD",
        "keep one entry point",
        f"{UNSAFE_HEADER} validSemanticsMain; {VALID_MAIN}",
    ),
    Rule(
        "entry-thread-state",
        "LC_UNIXTHREAD holds the 64-bit thread state of the architecture, and only that",
        "write flavor 4 with 42 words (arm64: 6 with 68)",
        f"{UNSAFE_HEADER} entryAddrFromThreadCmd; {LOADER} load_threadentry",
    ),
    Rule(
        "entry-main-arm64",
        "an arm64 executable starts through LC_MAIN",
        "use LC_MAIN",
        "dyld mach_o/Policy.cpp useEntryPointLoadCommand",
    ),
    Rule(
        "entry-range",
        "the entry point is in a segment that is executable",
        "correct entryoff (a distance from the mach header) or rip",
        f"{VALID_MAIN}; {LOADER} load_segment (validentry)",
    ),
    Rule(
        "entry-stack-size",
        "the stack size of LC_MAIN leaves room for guard pages",
        "give a smaller stack size, or 0",
        f"{LOADER} load_main",
    ),
    Rule(
        "initializer-section",
        "a section of initializer pointers is 8-byte aligned and a multiple of 8 long",
        "align the section; keep pointers only in it",
        INITIALIZERS,
    ),
    Rule(
        "initializer-target",
        "an initializer or terminator is in an executable segment",
        "correct the pointer",
        INITIALIZERS,
    ),
    Rule(
        "initializer-fixup",
        "every initializer or terminator pointer is rebased (or bound)",
        "add the rebase: without it the pointer is wrong at any slide but 0",
        "dyld common/MachOAnalyzer.cpp forEachInitializer (unslides each pointer)",
    ),
    Rule(
        "init-offsets-section",
        "initializer offsets are in a read-only segment, 4-byte aligned, whole words",
        "put __init_offsets into __TEXT",
        INITIALIZERS,
    ),
    Rule(
        "init-offsets-target",
        "an initializer offset leads to an executable segment",
        "write the distance of the function from the mach header",
        INITIALIZERS,
    ),
    Rule(
        "thread-local-size",
        "a section of thread-local variables has whole 24-byte descriptors",
        "keep descriptors only in the section",
        f"{THREAD_LOCALS} forEachThunkSpan",
    ),
    Rule(
        "thread-local-offset",
        "a thread-local variable's offset is inside the template",
        "write the distance from the start of the first template section",
        f"{THREAD_LOCALS} initializeThunksFromDisk",
    ),
    Rule(
        "thread-local-template",
        "the template sections follow each other, with only alignment between them",
        "lay out __thread_data and __thread_bss side by side, with the same alignment",
        f"{THREAD_LOCALS} findInitialContent",
    ),
    Rule(
        "thread-local-thunk",
        "the first word of each descriptor is bound to __tlv_bootstrap",
        "add the bind",
        "dyld libdyld/ThreadLocalVariables.h (a variable's descriptor starts with __tlv_bootstrap)",
    ),
    Rule(
        "thread-local-flag",
        "a file with thread-local variables has MH_HAS_TLV_DESCRIPTORS",
        "set header flag 0x800000",
        f"{UNSAFE_HEADER} hasThreadLocalVariables; dyld dyld/JustInTimeLoader.cpp (hasTLVs)",
    ),
)


def check(image: Image) -> None:
    """Every rule of this file."""
    if image.is_executable:
        _check_entry(image)
    sections = list(enumerate(image.file.sections))
    fixed = _fixed_places(image)
    for index, row in sections:
        kind = int(row["flags"]) & macho.SECTION_TYPE
        if kind in (macho.S_MOD_INIT_FUNC_POINTERS, macho.S_MOD_TERM_FUNC_POINTERS):
            _check_initializers(image, index, row, fixed)
        elif kind == macho.S_INIT_FUNC_OFFSETS:
            _check_init_offsets(image, index, row)
    _check_thread_locals(image)


def _check_entry(image: Image) -> None:
    file, report = image.file, image.report
    mains, threads = file.of(macho.LC_MAIN), file.of(macho.LC_UNIXTHREAD)
    message = f"{len(mains)} LC_MAIN, {len(threads)} LC_UNIXTHREAD"
    report.require(len(mains) + len(threads) == 1, "entry-once", "load commands", message)
    if threads and image.is_arm64:
        report.fail("entry-main-arm64", "LC_UNIXTHREAD", "is used on arm64")
    for command in mains:
        fields = command.fields(macho.ENTRY_POINT_COMMAND)
        _check_entry_address(image, file.base + fields["entryoff"], "LC_MAIN")
        size = fields["stacksize"]
        fits = size + 4 * image.page_size < 1 << 64
        report.require(fits, "entry-stack-size", "LC_MAIN", f"stacksize is {size:#x}")
    for command in threads:
        flavor, words, counter = THREAD_STATES.get(int(file.header["cputype"]), (0, 0, 0))
        head = [int.from_bytes(command.data[at : at + 4], "little") for at in (8, 12)]
        message = f"flavor {head[0]} with {head[1]} words in {len(command.data)} bytes"
        whole = head == [flavor, words] and len(command.data) == 16 + 4 * words
        if report.require(whole, "entry-thread-state", "LC_UNIXTHREAD", message):
            at = 16 + 8 * counter
            address = int.from_bytes(command.data[at : at + 8], "little")
            _check_entry_address(image, address, "LC_UNIXTHREAD")


def _check_entry_address(image: Image, address: int, place: str) -> None:
    message = f"the entry is {address:#x}"
    image.report.require(image.in_executable(address), "entry-range", place, message)


def _fixed_places(image: Image) -> tuple[Columns, Columns] | None:
    """Sorted addresses of all rebases and of all binds; None if they cannot be read."""
    try:
        return image.file.rebases["address"], np.sort(image.file.binds.rows["address"])
    except FormatError:  # reported by the rules of the fixup streams
        return None


def _check_initializers(
    image: Image, index: int, row: Columns, fixed: tuple[Columns, Columns] | None
) -> None:
    file, report, name = image.file, image.report, image.file.section_names[index]
    address, size = int(row["addr"]), int(row["size"])
    message = f"address {address:#x}, {size} bytes"
    whole = address % 8 == 0 and size % 8 == 0
    report.require(whole, "initializer-section", name, message)
    if not whole or fixed is None:
        return
    if image.readable(lambda: file.section_bytes(index), name) is None:
        return
    places = address + 8 * np.arange(size // 8, dtype=np.uint64)
    rebased, bound = (np.isin(places, rows) for rows in fixed)
    missing = np.flatnonzero(~rebased & ~bound).tolist()
    report.each("initializer-fixup", missing, lambda i: (f"{name}[{i}]", "has no rebase"))
    rows = file.rebases[np.isin(file.rebases["address"], places)]
    wrong = [r for r in rows if not image.in_executable(int(r["target"]))]
    report.each(
        "initializer-target",
        wrong,
        lambda r: (f"{name}[{(int(r['address']) - address) // 8}]", f"is {int(r['target']):#x}"),
    )


def _check_init_offsets(image: Image, index: int, row: Columns) -> None:
    file, report, name = image.file, image.report, image.file.section_names[index]
    protection = int(file.segments["initprot"][file.section_segment[index]])
    size = int(row["size"])
    message = f"address {int(row['addr']):#x}, {size} bytes, initprot {protection}"
    good = not protection & macho.VM_PROT_WRITE and not row["addr"] % 4 and not size % 4
    if not report.require(bool(good), "init-offsets-section", name, message):
        return
    raw = image.readable(lambda: file.section_bytes(index), name)
    if raw is None:
        return
    offsets = np.frombuffer(raw, "<u4").tolist()
    wrong = [i for i, off in enumerate(offsets) if not image.in_executable(file.base + off)]
    report.each("init-offsets-target", wrong, lambda i: (f"{name}[{i}]", f"is {offsets[i]:#x}"))


# -- thread-local variables


def _check_thread_locals(image: Image) -> None:
    file, report = image.file, image.report
    kinds = file.sections["flags"] & macho.SECTION_TYPE
    variables = np.flatnonzero(kinds == macho.S_THREAD_LOCAL_VARIABLES).tolist()
    templates = np.flatnonzero(
        (kinds == macho.S_THREAD_LOCAL_REGULAR) | (kinds == macho.S_THREAD_LOCAL_ZEROFILL)
    ).tolist()
    flags = int(file.header["flags"])
    if variables:
        message = f"flags are {flags:#x}"
        set_ = bool(flags & macho.MH_HAS_TLV_DESCRIPTORS)
        report.require(set_, "thread-local-flag", "mach_header_64", message)
    size = _check_template(image, templates)
    for index in variables:
        _check_descriptors(image, index, size)


def _check_template(image: Image, sections: list[int]) -> int:
    """Are the template sections neighbours? Returns the size of the whole template."""
    rows, names = image.file.sections, image.file.section_names
    for a, b in pairwise(sections):
        end, start = int(rows["addr"][a]) + int(rows["size"][a]), int(rows["addr"][b])
        gap = start - end
        near = b == a + 1 and 0 <= gap < 1 << min(int(rows["align"][b]), 15)
        message = f"ends at {end:#x}, {names[b]} starts at {start:#x}"
        image.report.require(near, "thread-local-template", names[a], message)
    if not sections:
        return 0
    first, last = sections[0], sections[-1]
    return int(rows["addr"][last]) + int(rows["size"][last]) - int(rows["addr"][first])


def _check_descriptors(image: Image, index: int, template: int) -> None:
    file, report, name = image.file, image.report, image.file.section_names[index]
    size, address = int(file.sections["size"][index]), int(file.sections["addr"][index])
    message = f"{size} bytes"
    if not report.require(size % DESCRIPTOR == 0, "thread-local-size", name, message):
        return
    raw = image.readable(lambda: file.section_bytes(index), name)
    if raw is None:
        return
    words = np.frombuffer(raw[: len(raw) // DESCRIPTOR * DESCRIPTOR], "<u8").reshape(-1, 3)
    offsets = words[:, 2]
    wrong = np.flatnonzero(offsets > template).tolist()
    report.each(
        "thread-local-offset",
        wrong,
        lambda i: (f"{name}[{i}]", f"offset {int(offsets[i]):#x} of {template:#x}"),
    )
    try:
        binds = file.binds
    except FormatError:  # reported by the rules of the fixup streams
        return
    bound = {
        int(row["address"])
        for row in binds.rows
        if row["name"] < len(binds.names) and binds.names[row["name"]] == b"__tlv_bootstrap"
    }
    missing = [i for i in range(len(words)) if address + DESCRIPTOR * i not in bound]
    report.each("thread-local-thunk", missing, lambda i: (f"{name}[{i}]", "is not bound to it"))
