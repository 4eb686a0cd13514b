"""Objective-C image info: one 8-byte record an image, merged from those of all objects.

A version (0) and flags. The Swift version (bits 8 to 15) of the objects that have one must agree.
The other flags say what holds of the image as a whole: category class properties and signed class
data only if all objects have them. Source: ld64's Resolver.cpp and LLVM's
lld/MachO/SyntheticSections.cpp (ObjCImageInfoSection).
"""

from __future__ import annotations

import numpy as np

from pielink.errors import FormatError, Problems
from pielink.native.atoms import IMAGE_INFO, section_bytes
from pielink.native.tables import Host

SIZE = 8
SWIFT_VERSION_MASK, SWIFT_VERSION_SHIFT = 0xFF00, 8
SWIFT_STABLE_MASK = 0xFFFF0000
ALL_OR_NOTHING = 0x40 | 0x10  # category class properties, signed class_ro


def merged_image_info(host: Host, problems: Problems) -> bytes:
    """Return the contents of `__objc_imageinfo`, or b"" where no object has any.

    Objects of different Swift versions go into `problems`. Raises FormatError for a record of
    the wrong size.
    """
    found: list[tuple[str, int]] = []
    for section in np.flatnonzero(host.sections.name == IMAGE_INFO).tolist():
        file = host.file_name(section)
        if int(host.sections.size[section]) != SIZE or int(host.sections.data[section]) < 0:
            raise FormatError(f"section {host.title(section)} is not {SIZE} bytes long", file)
        version, flags = section_bytes(host, section).view("<u4").tolist()
        if version:
            raise FormatError(f"Objective-C image info of unknown version {version}", file)
        found.append((file, flags))
    if not found:
        return b""
    common = ALL_OR_NOTHING
    swift, stable, first = 0, 0, ""
    for file, flags in found:
        common &= flags
        own = flags & SWIFT_VERSION_MASK
        if own and swift and own != swift:
            versions = f"{own >> SWIFT_VERSION_SHIFT}, {first} {swift >> SWIFT_VERSION_SHIFT}"
            problems.add(f"is compiled for Swift ABI {versions}", file)
        if own and not swift:
            swift, first = own, file
        own_stable = flags & SWIFT_STABLE_MASK
        stable = min(stable, own_stable) if stable and own_stable else stable | own_stable
    return np.array([0, common | swift | stable], "<u4").tobytes()
