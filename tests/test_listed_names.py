"""Names in lists of stubs as columns: the same as reading each list scalar by scalar."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from host_inputs import libsystem_stub

from pielink.errors import FormatError
from pielink.formats import stub_text, tbd
from pielink.native import libraries, libsearch
from pielink.native.listed_names import ListedNames, outline

PIECES = [
    b"_a",
    b"_bc",
    b"'_d$e'",
    b"f.g-1",
    b", ",
    b",",
    b",\n   ",
    b" ",
    b"\n",
    b"$ld$x",
    b"+:@~",
]
ODD = [
    b"'",
    b"''",
    b'"',
    b'"q"',
    b"#",
    b"\t",
    b"\\",
    b"'a,b'",
    b"' c'",
    b"'d '",
    b"\xc3\xa9",
    b"_a _b",
]


def random_list(rng: random.Random) -> bytes:
    if rng.random() < 0.6:
        names = [rng.choice([b"_a", b"_bc", b"'_d$e'", b"x" * rng.randrange(1, 40)])]
        names *= rng.randrange(4)
        return rng.choice([b", ", b",", b",\n  ", b" , "]).join([b"", *names, b""])[1:]
    return b"".join(rng.choices(PIECES + ODD * (rng.random() < 0.5), k=rng.randrange(8)))


def test_names_of_usual_lists_are_those_that_are_read_one_by_one() -> None:
    rng = random.Random(12)
    usual = 0
    for _ in range(1500):
        lists = [random_list(rng) for _ in range(rng.randrange(6))]
        text, start, end, owner, unusual = outline(lists)
        content = text.tobytes()
        for number, each in enumerate(lists):
            rows = [row for row, of in enumerate(owner.tolist()) if of == number]
            names = [content[start[row] : end[row]] for row in rows]
            if number in unusual:
                assert names == []
            else:
                assert names == stub_text.elements(each), each
                usual += 1
    assert usual > 2000


def test_usual_lists_are_seen_as_such() -> None:
    usual = [b"", b" ", b" _a, _b ", b"_a,'b$c',\n\n  d.e , f-g,", b"'x'"]
    assert outline(usual).unusual == ()
    unusual = [
        b"a b",
        b"'a b'",
        b"'a,b'",
        b"''",
        b"a''b",
        b'"a"',
        b"a # b",
        b"'a' 'b'",
        b"'a",
        b"a'",
    ]
    assert outline(unusual).unusual == tuple(range(len(unusual)))


def test_the_first_list_with_a_name_is_found() -> None:
    rng = random.Random(13)
    words = [b"_%x" % rng.randrange(400) for _ in range(900)]
    lists = [b", ".join(words[at : at + 30]) for at in range(0, len(words), 30)]
    listed = ListedNames(lists)
    for name in [*words, b"_", b"", b"nobody"]:
        holders = [n for n, each in enumerate(lists) if name in each.split(b", ")]
        assert listed.find(name) == (holders[0] if holders else -1)
    assert ListedNames([]).find(b"_a") == -1


def test_lists_of_libsystem_are_usual_and_found_in_the_library_that_has_them() -> None:
    group = tbd.read(libsystem_stub().read_bytes(), "libSystem.tbd")
    assert outline([text for each in group for text, _ in each.lists]).unusual == ()
    linked = libraries.link([group], libsearch.search_paths(), 13 << 16)
    directives = b"".join(each for library in group for each in library.directives)
    for library in group:
        for name, flags in library.exports.items():
            found = linked.find(name)
            assert found is not None or name in directives
            assert found is None or found.weak_definition == bool(flags & 4) or name in directives


def stub(path: Path, symbols: str) -> Path:
    head = "--- !tapi-tbd\ntbd-version: 4\ntargets: [ x86_64-macos ]\ninstall-name: /l.dylib\n"
    head += "exports:\n  - targets: [ x86_64-macos ]\n    symbols: "
    path.write_text(f"{head}{symbols}\n...\n")
    return path


@pytest.mark.parametrize("extra", ["", "\n    weak-symbols: [ _w, _a ]"])
def test_unusual_lists_are_read_as_well(extra: str, tmp_path: Path) -> None:
    read = libraries.read_file(stub(tmp_path / "l.tbd", f"""[ _a, "_q", '_s t' ]{extra}"""))
    linked = libraries.link([read], libsearch.search_paths(), 13 << 16)
    assert set(read[0].exports) == {b"_a", b"_q", b"_s t"} | ({b"_w"} if extra else set())
    for name, flags in read[0].exports.items():
        found = linked.find(name)
        assert found
        assert found.weak_definition == bool(flags & 4)
    assert linked.find(b"_s") is None


def test_a_malformed_list_is_refused_by_name(tmp_path: Path) -> None:
    read = libraries.read_file(stub(tmp_path / "l.tbd", "[ _a 'b', _c ]"))
    with pytest.raises(FormatError, match=r"l\.tbd: .*not a list of names"):
        libraries.link([read], libsearch.search_paths(), 13 << 16)
    with pytest.raises(FormatError, match=r"l\.tbd: .*not a list of names"):
        _ = read[0].exports
