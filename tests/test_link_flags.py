"""The flags of `pielink link`: Go's grammar, every flag of `go tool link -h`, the link mode."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from go_inputs import PREVIOUS_RELEASE, RELEASE, ROOT, go_environment, goroot

from pielink.cli import main
from pielink.errors import LinkError, UsageError
from pielink.golang import flag_docs
from pielink.golang.flag_table import GO_FLAGS, Fate, Kind
from pielink.golang.flags import parse_link_flags, split_response
from pielink.golang.link_mode import REFUSALS
from pielink.options import (
    BindTime,
    BuildMode,
    Definition,
    DyldInfoFormat,
    LinkOptions,
    Version,
)


def parse(*flags: str, **environ: str) -> LinkOptions:
    return parse_link_flags([*flags, "main.a"], environ)


@pytest.mark.parametrize("release", [RELEASE, PREVIOUS_RELEASE])
def test_every_flag_of_go_tool_link_is_in_the_table(release: str) -> None:
    linker = next((goroot(release) / "pkg" / "tool").glob("*/link"))
    done = subprocess.run(
        [linker, "-h"], env=go_environment(release), capture_output=True, text=True, check=False
    )
    theirs = set(re.findall(r"^  -(\w+)", done.stderr, re.MULTILINE))
    assert len(theirs) > 50
    ours = {flag.name for flag in GO_FLAGS}
    assert theirs <= ours
    if release == RELEASE:
        assert ours == theirs


def test_options_have_go_defaults() -> None:
    options = parse()
    assert options == LinkOptions(main="main.a", build_mode=BuildMode.EXE, config=options.config)
    assert options.output == "a.out"


@pytest.mark.parametrize(
    "words",
    [["-o", "x"], ["-o=x"], ["--o", "x"], ["--o=x"], ["-o", "y", "-o=x"], ["-s=0", "-o", "x"]],
)
def test_flag_spellings_of_go(words: list[str]) -> None:
    assert parse(*words).output == "x"


def test_a_value_may_be_empty_or_look_like_a_flag() -> None:
    assert parse("-buildid", "").build_id == ""
    assert parse("-installsuffix", "-s").install_suffix == "-s"
    assert not parse("-installsuffix", "-s").strip_symbols


def test_two_dashes_end_the_flags() -> None:
    assert parse_link_flags(["-s", "--", "-w"], {}).main == "-w"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-nosuch"], "flag provided but not defined: -nosuch"),
        (["---o", "x"], "bad flag syntax: ---o"),
        (["-=x"], "bad flag syntax: -=x"),
        (["-s=maybe"], 'invalid boolean value "maybe" for flag -s: parse error'),
        (["-T", "12q"], 'invalid value "12q" for flag -T: parse error'),
        (["-T", "0x8000000000000000"], "value out of range"),
        (["-T", "-2"], "negative address"),
        (["-X", "main"], "importpath.name=value"),
        (["-X", "main.x"], "importpath.name=value"),
        (["-R", "4097"], "invalid -R value 0x1001"),
        (["-R", "2048"], "invalid -R value 0x800"),
        (["-D", "0x1001"], "invalid -D value 0x1001"),
        (["-funcalign", "3"], "invalid -funcalign value 3"),
        (["-macos", "13.x"], "invalid version '13.x'"),
        (["-macos", "1.2.3.4"], "invalid version '1.2.3.4'"),
        (["-macsdk", "1.256"], "at most 65535.255.255"),
        (["-B", "gobuildid"], "requires a Go build ID"),
        (["-B", "12"], "invalid -B value '12'"),
        (["-B", "0x123"], "even number"),
        (["-B", "0x" + "12" * 17], "at most 32"),
        (["-benchmark", "gpu"], "invalid -benchmark value 'gpu'"),
        (["-buildmode", "fast"], 'invalid value "fast" for flag -buildmode'),
        (["-linkmode=none"], 'invalid value "none" for flag -linkmode'),
        (["-dyldinfo=none"], "want opcodes or chained"),
        (["-bind=never"], "want now or lazy"),
        (["-dyldinfo=chained", "-macos", "11.0"], "needs -macos 12 or later"),
        (["-dyldinfo=chained", "-bind=lazy"], "binds at load: leave out -bind=lazy"),
        (["-dyldinfo=chained", "-buildmode=exe"], "-dyldinfo=chained needs -buildmode=pie"),
        (["-bind=lazy", "-buildmode=exe"], "-bind=lazy needs -buildmode=pie"),
        (["-extldflags", "'a"], "unterminated quote"),
        (["@/nonexistent/file"], "cannot read response file"),
        (["other.a"], "want one main archive, not 2"),
    ],
)
def test_usage_errors_name_flag_and_value(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        parse(*words)


def test_a_flag_at_the_end_needs_its_argument() -> None:
    with pytest.raises(UsageError, match="flag needs an argument: -o"):
        parse_link_flags(["-o"], {})


def test_unknown_flag_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["link", "-nosuch", "main.a"]) == 2
    assert "flag provided but not defined: -nosuch" in capsys.readouterr().err


def test_help_shows_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["link", "--help"]) == 0
    text = capsys.readouterr().out
    assert "example:" in text
    assert all(f"\n  -{flag.name}" in text for flag in GO_FLAGS)


@pytest.mark.parametrize(
    ("text", "value"),
    [("0x1_000", 0x1000), ("4096", 4096), ("010000", 0o10000), ("0b1", 1), ("0o17", 15)],
)
def test_numbers_in_go_notation(text: str, value: int) -> None:
    assert parse("-T", text).text_address == value


def test_minus_one_means_the_usual_address() -> None:
    assert parse("-T", "-1", "-R", "-1", "-D", "-1").text_address is None


@pytest.mark.parametrize(
    ("words", "count"),
    [(["-v"], 1), (["-v", "-v"], 2), (["-v=3"], 3), (["-v=2", "-v"], 3), (["-v", "-v=false"], 0)],
)
def test_verbose_counts(words: list[str], count: int) -> None:
    assert parse(*words).verbose == count


@pytest.mark.parametrize(
    ("words", "dwarf"), [([], True), (["-s"], False), (["-w"], False), (["-s", "-w=0"], True)]
)
def test_s_implies_w_unless_w_is_given(words: list[str], dwarf: bool) -> None:
    assert parse(*words).strip_dwarf is not dwarf


def test_definitions_keep_order_and_all_after_the_first_equals_sign() -> None:
    options = parse("-X", "main.version=1 = one", "-X=example.com/v.2.Name=x")
    assert options.definitions == (
        Definition("main.version", "1 = one"),
        Definition("example.com/v.2.Name", "x"),
    )


def test_buildid_makes_the_uuid() -> None:
    assert parse("-buildid", "a/b").uuid == "gobuildid"
    assert parse("-buildid", "a/b", "-B", "none").uuid == "none"
    assert parse("-B", "0x00ff").uuid == "0x00ff"
    assert parse().uuid == ""


def test_lists_and_own_flags() -> None:
    options = parse(
        *["-L", "a", "-L", "b", "-exported-symbol", "f", "-exported-symbol=g"],
        *["-verify", "-dyldinfo", "chained", "-macos=12", "-export-dynamic"],
        "-buildmode=pie",
    )
    assert options.library_dirs == ("a", "b")
    assert options.exported_symbols == ("f", "g")
    assert options.verify
    assert options.export_dynamic
    assert parse("-bind=lazy", "-buildmode=pie").bind is BindTime.LAZY
    assert options.dyld_info is DyldInfoFormat.CHAINED
    assert options.macos == Version(12)
    assert Version.parse("26.2").encoded() == 0x1A0200


def test_response_files(tmp_path: Path) -> None:
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    inner.write_text("-s\n")
    outer.write_text(f"-o 'a b' @{inner}")
    options = parse(f"@{outer}")
    assert options.output == "a b"
    assert options.strip_symbols
    outer.write_text(f"@{outer}")
    with pytest.raises(UsageError, match="nested too deeply"):
        parse(f"@{outer}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("a  b\tc\r\n", ["a", "b", "c"]),
        ("'a b' \"c d\" e\\ f", ["a b", "c d", "e f"]),
        ('\'a\\b\' "c\\"\\\\\\$\\`\\n"', ["a\\b", 'c"\\$`\\n']),
        ("a\\\nb \"c\\\r\nd\" ''", ["ab", "cd", ""]),
        ("x'y'\"z\"", ["xyz"]),
        ("a\\", ["a"]),
    ],
)
def test_response_file_quoting(text: str, words: list[str]) -> None:
    assert split_response(text) == words


@pytest.mark.parametrize(
    "flag", [f for f in GO_FLAGS if f.fate is Fate.REFUSED], ids=lambda f: f.name
)
def test_a_refused_flag_says_why_and_its_harmless_value_passes(flag) -> None:  # type: ignore[no-untyped-def]
    asks = str(not flag.harmless).lower() if flag.kind is Kind.BOOL else "something"
    with pytest.raises(LinkError) as caught:
        parse(f"-{flag.name}={asks}")
    assert str(caught.value) == f"-{flag.name} is not supported: {flag.text}"
    parse(f"-{flag.name}={str(flag.harmless).lower()}")


@pytest.mark.parametrize(
    "flag", [f for f in GO_FLAGS if f.fate is Fate.NO_MEANING], ids=lambda f: f.name
)
def test_a_flag_without_meaning_changes_nothing(flag) -> None:  # type: ignore[no-untyped-def]
    assert parse(f"-{flag.name}=1") == parse()


@pytest.mark.parametrize(
    ("words", "environ", "case"),
    [
        (["-buildmode=c-archive"], {}, "-buildmode=c-archive"),
        (["-buildmode=c-shared"], {}, "-buildmode=c-shared"),
        (["-buildmode=plugin"], {}, "-buildmode=plugin"),
        (["-buildmode=shared"], {}, "-buildmode=shared"),
        (["-linkmode=external"], {}, "-linkmode=external"),
        ([], {"GO_EXTLINK_ENABLED": "1"}, "GO_EXTLINK_ENABLED=1 with -linkmode=auto"),
        (["-H", "elf"], {}, "-H other than darwin"),
    ],
)
def test_each_link_mode_refusal(words: list[str], environ: dict[str, str], case: str) -> None:
    (rule,) = [rule for rule in REFUSALS if rule.case == case]
    with pytest.raises(LinkError) as caught:
        parse(*words, **environ)
    assert str(caught.value) == f"{case}: {rule.reason}; {rule.remedy}"


def test_refusals_are_reported_together() -> None:
    with pytest.raises(LinkError) as caught:
        parse("-buildmode=plugin", "-linkmode=external")
    assert len(caught.value.problems) == 2


def test_internal_link_modes_pass() -> None:
    assert parse("-buildmode=pie", "-linkmode=internal", GO_EXTLINK_ENABLED="1")
    assert parse("-H=darwin", "-race", "-extld=clang").race


@pytest.mark.parametrize("environ", [{"GOOS": "linux"}, {"GOARCH": "arm64"}])
def test_another_target_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="darwin/amd64"):
        parse(**environ)


def test_the_page_of_flags_is_up_to_date() -> None:
    assert (ROOT / "docs" / "link-flags.md").read_text() == flag_docs.markdown()


def test_extldflags_are_words() -> None:
    assert parse("-extldflags", "-lz '-Wl,-rpath,/a b'").extldflags == ("-lz", "-Wl,-rpath,/a b")
