"""Text stubs (.tbd): what a dynamic library exports, as text, in place of the library.

Versions 1 to 4 are YAML, one document a library; the first is the library that the file stands
for, the rest are libraries that it passes on. Version 4 says `targets: [ x86_64-macos, ... ]`,
older ones `archs` and `platform`. Version 5 is JSON with a `main_library` and inlined `libraries`.

Objective-C classes, ivars and exception types stand for symbols with prefixes of their own.
Source: LLVM's TextAPI (TextStub.cpp, TextStubV5.cpp) and its TBD Format Reference Manual.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import repeat

from pielink.errors import FormatError
from pielink.formats import macho
from pielink.formats.dylib import DEFAULT_VERSION, DIRECTIVE, Library, take_directives
from pielink.formats.stub_text import YamlMap, documents, elements
from pielink.hints import Any

_VERSION_OF_KIND = {"tapi-tbd-v1": 1, "tapi-tbd-v2": 2, "tapi-tbd-v3": 3, "tapi-tbd": 4, "": 1}

# Which fields of a section of exports hold names, what those names become, and their flags.
_WEAK = macho.EXPORT_SYMBOL_FLAGS_WEAK_DEFINITION
_THREAD_LOCAL = macho.EXPORT_SYMBOL_FLAGS_KIND_THREAD_LOCAL
_CLASS = (b"_OBJC_CLASS_$_", b"_OBJC_METACLASS_$_")
_YAML_FIELDS = {
    "symbols": ((b"",), 0),
    "objc-classes": (_CLASS, 0),
    "objc-eh-types": ((b"_OBJC_EHTYPE_$_",), 0),
    "objc-ivars": ((b"_OBJC_IVAR_$_",), 0),
    "weak-def-symbols": ((b"",), _WEAK),
    "weak-symbols": ((b"",), _WEAK),
    "thread-local-symbols": ((b"",), _THREAD_LOCAL),
}
_JSON_FIELDS = (
    ("global", (b"",), 0),
    ("objc_class", _CLASS, 0),
    ("objc_eh_type", (b"_OBJC_EHTYPE_$_",), 0),
    ("objc_ivar", (b"_OBJC_IVAR_$_",), 0),
    ("weak", (b"",), _WEAK),
    ("thread_local", (b"",), _THREAD_LOCAL),
)
_UNDERSCORED = ("objc-classes", "objc-ivars")  # names begin with _ in versions 1 and 2
_MACOS_NAMES = ("macosx", "macos", "zippered")  # the `platform` of versions 1 to 3


def read(data: bytes, file: str, arch: str = "x86_64") -> list[Library]:
    """Return the libraries of a stub that exist on macOS for `arch`, the main one first.

    `file` is how messages call it. Raises FormatError when the text is malformed, or when the
    main library has no such target. Long lists of names are left as they are (`Library.lists`).
    """
    data = bytes(data)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise FormatError("text stub is not UTF-8", file, error.start) from None
    if data.lstrip().startswith(b"{"):
        return _read_json(text, file, arch)
    return _read_yaml(data.replace(b"\r\n", b"\n") if b"\r" in data else data, file, arch)


def _read_yaml(data: bytes, file: str, arch: str) -> list[Library]:
    libraries: list[Library] = []
    known: dict[bytes, bool] = {}  # whether a list of targets has ours; those of a file are alike
    for kind, at, document in documents(data, file):
        version = _VERSION_OF_KIND.get(kind)
        if version is None:
            raise FormatError(f"text stub of unknown kind !{kind}", file, at)
        declared = document.get("tbd-version", "4")
        if version == 4 and declared != "4":
            raise FormatError(f"text stub of unknown tbd-version {declared}", file, at)
        library = _yaml_library(document, version, file, arch, known, main=not libraries)
        if library:
            libraries.append(library)
    return libraries


def _names(value: Any, what: str, file: str) -> list[bytes]:
    """Return `value`, which must be a list of names (or absent)."""
    if not isinstance(value, bytes):
        return [name.encode() for name in _strings(value, what, file)]
    names = elements(value)
    if names is None:
        raise FormatError(f"{what} of text stub is not a list of names", file)
    return names


def _strings(value: Any, what: str, file: str) -> list[str]:
    """Return `value`, which must be a list of strings (or absent)."""
    if value is None or value == "":
        return []
    if isinstance(value, bytes):
        return [name.decode() for name in _names(value, what, file)]
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise FormatError(f"{what} of text stub is not a list of names", file)
    return value


def _mappings(value: Any, what: str, file: str) -> list[YamlMap]:
    """Return `value`, which must be a list of mappings (or absent)."""
    if value is None or value == "":
        return []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise FormatError(f"{what} of text stub is not a list of sections", file)
    return value


def _string(value: Any, what: str, file: str) -> str:
    if not isinstance(value, str):
        raise FormatError(f"{what} of text stub is not a text", file)
    return value


def _matches(targets: Iterable[str], target: str) -> bool:
    """Return whether `target` is listed; x86_64h (Haswell) libraries serve x86_64 as well."""
    arch, _, platform = target.partition("-")
    return any(each in (target, f"{arch}h-{platform}") for each in targets)


def _yaml_targets(mapping: YamlMap, version: int, platform: str, file: str) -> list[str]:
    """Return the targets of a document or section; old versions list archs of one platform."""
    if version >= 4:
        return _strings(mapping.get("targets"), "targets", file)
    system = "macos" if platform in _MACOS_NAMES else platform
    return [f"{arch}-{system}" for arch in _strings(mapping.get("archs"), "archs", file)]


def _yaml_library(
    document: YamlMap, version: int, file: str, arch: str, known: dict[bytes, bool], main: bool
) -> Library | None:
    platform = _string(document.get("platform", ""), "platform", file)
    target = f"{arch}-macos"

    def applies(mapping: YamlMap) -> bool:
        listed = mapping.get("targets") if version >= 4 else None
        if isinstance(listed, bytes) and listed in known:
            return known[listed]
        found = _matches(_yaml_targets(mapping, version, platform, file), target)
        if isinstance(listed, bytes):
            known[listed] = found
        return found

    if not applies(document):
        if main:
            found = ", ".join(_yaml_targets(document, version, platform, file)) or "none"
            raise FormatError(f"text stub has no target {target} (it has {found})", file)
        return None
    sections = [
        section
        for key in ("exports", "reexports")
        for section in _mappings(document.get(key), key, file)
        if applies(section)
    ]
    exports: dict[bytes, int] = {}
    directives: list[bytes] = []
    lists: list[tuple[bytes, int]] = []
    for section in sections:
        for key, value in section.items():
            if key not in _YAML_FIELDS:
                continue
            prefixes, flags = _YAML_FIELDS[key]
            plain = isinstance(value, bytes) and prefixes == (b"",)
            quoted = _quoted_directives(value) if plain else None
            if quoted is not None:
                directives += quoted
                lists.append((value, flags))
                continue
            listed = _names(value, key, file)
            if version < 3 and key in _UNDERSCORED:
                listed = [name.removeprefix(b"_") for name in listed]
            _add(exports, listed, prefixes, flags)
    directives += take_directives(exports)
    return Library(
        file,
        _install_name(document.get("install-name"), file),
        _version(document.get("current-version"), file),
        _version(document.get("compatibility-version"), file),
        _yaml_umbrella(document.get("parent-umbrella", ""), applies, file),
        tuple(_yaml_reexports(document, sections, applies, file)),
        exports,
        tuple(directives),
        True,
        tuple(lists),
    )


def _quoted_directives(text: bytes) -> list[bytes] | None:
    """The directives in a list, each a scalar in single quotes; None if there are others."""
    if DIRECTIVE not in text:
        return []
    found = [word for word in text.split(b"'")[1::2] if word.startswith(DIRECTIVE)]
    return found if text.count(DIRECTIVE) == len(found) and b"''" not in text else None


def _yaml_umbrella(value: Any, applies: Any, file: str) -> str:
    if isinstance(value, str):
        return value
    found = [each for each in _mappings(value, "parent-umbrella", file) if applies(each)]
    return _string(found[0].get("umbrella", ""), "umbrella", file) if found else ""


def _yaml_reexports(
    document: YamlMap, sections: list[YamlMap], applies: Any, file: str
) -> Iterator[str]:
    for section in sections:  # versions 1 to 3
        yield from _strings(section.get("re-exports"), "re-exports", file)
    for each in _mappings(document.get("reexported-libraries"), "reexported-libraries", file):
        if applies(each):
            yield from _strings(each.get("libraries"), "libraries", file)


def _add(
    exports: dict[bytes, int], names: list[bytes], prefixes: Iterable[bytes], flags: int
) -> None:
    for prefix in prefixes:
        full = [prefix + name for name in names] if prefix else names
        exports.update(zip(full, repeat(flags)))


def _install_name(value: Any, file: str) -> str:
    name = _string(value or "", "install name", file)
    if not name:
        raise FormatError("text stub has no install name", file)
    return name


def _version(value: Any, file: str) -> int:
    """Return a version X.Y.Z as xxxx.yy.zz; what does not fit is cut to the largest."""
    if value is None or value == "":
        return DEFAULT_VERSION
    parts = _string(value, "version", file).split(".")
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise FormatError(f"text stub has a wrong version {value}", file)
    numbers = [int(part[:9]) for part in (*parts, "0", "0")][:3]
    return min(numbers[0], 0xFFFF) << 16 | min(numbers[1], 0xFF) << 8 | min(numbers[2], 0xFF)


def _read_json(text: str, file: str, arch: str) -> list[Library]:
    import json

    try:
        root = json.loads(text)
    except json.JSONDecodeError as error:
        raise FormatError(f"text stub is not JSON: {error.msg}", file, error.pos) from None
    except RecursionError:
        raise FormatError("text stub is nested too deeply", file) from None
    version = root.get("tapi_tbd_version")
    if version != 5:
        raise FormatError(f"text stub of unknown tapi_tbd_version {version}", file)
    main = root.get("main_library")
    if not isinstance(main, dict):
        raise FormatError("text stub has no main_library", file)
    inlined = _mappings(root.get("libraries"), "libraries", file)
    libraries = [_json_library(each, file, arch, each is main) for each in (main, *inlined)]
    return [library for library in libraries if library]


def _json_library(document: YamlMap, file: str, arch: str, main: bool) -> Library | None:
    infos = _mappings(document.get("target_info"), "target_info", file)
    targets = [_string(info.get("target", ""), "target", file) for info in infos]
    target = f"{arch}-macos"
    if not _matches(targets, target):
        if main:
            found = ", ".join(targets) or "none"
            raise FormatError(f"text stub has no target {target} (it has {found})", file)
        return None

    def sections(key: str) -> list[YamlMap]:
        return [
            section
            for section in _mappings(document.get(key), key, file)
            if "targets" not in section
            or _matches(_strings(section["targets"], "targets", file), target)
        ]

    def first(key: str, field: str) -> Any:
        found = sections(key)
        return found[0].get(field) if found else None

    exports: dict[bytes, int] = {}
    for section in sections("exported_symbols") + sections("reexported_symbols"):
        for part in ("text", "data"):
            for holder in _mappings([section.get(part, {})], part, file):
                for key, prefixes, flags in _JSON_FIELDS:
                    _add(exports, _names(holder.get(key), key, file), prefixes, flags)
    passed_on = sections("reexported_libraries")
    directives = take_directives(exports)
    return Library(
        file,
        _install_name(first("install_names", "name"), file),
        _version(first("current_versions", "version"), file),
        _version(first("compatibility_versions", "version"), file),
        _string(first("parent_umbrellas", "umbrella") or "", "umbrella", file),
        tuple(name for each in passed_on for name in _strings(each.get("names"), "names", file)),
        exports,
        directives,
    )
