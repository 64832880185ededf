"""What of pages is run, and that a page that claims what is not so is found."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from docs.build_site import ROOT, documents
from jettison.cli.commands import app
from tests.pages.reading import Block, blocks, pages, strays
from tests.pages.running import faults, record
from tests.pages.tolerance import agrees, differences


def page(folder: Path, text: str) -> Path:
    path = folder / "page.md"
    path.write_text(text, "utf-8")
    return path


EMPTY = "<!-- run: on empty -->\n"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("$ echo one two\none two", 0),
        ("$ echo one two\none three", 1),
        ("$ echo one two", 1),
        ("$ true\none", 1),
        ("$ printf 'a\\nb\\nc\\n'\na\n…\nc", 0),
        ("$ printf 'a\\nb\\nc\\n'\na\n…\nd", 1),
        ("$ echo 'a long line'\na long…", 0),
        ("$ echo 'a long line'\na short…", 1),
        ("$ jettison version\njettison 0.1.0", 0),
        ("$ jettison version\njettison 0.1.1", 1),
        ("$ false", 1),
        ("$ false\n$ echo $?\n1", 0),
        ("$ false\n$ echo $?\n2", 1),
        ("$ x=5\n$ echo $x\n5", 0),
        ("$ echo a |\n    tr a b\nb", 0),
        ("$ pwd\n~", 0),
    ],
)
def test_a_page_is_held_to_what_it_claims(
    body: str, found: int, tmp_path: Path, warm: Path
) -> None:
    made = page(tmp_path, f"{EMPTY}```console\n{body}\n```\n")
    assert len(faults(made, tmp_path / "run", warm)) == found


def test_a_command_alone_has_to_succeed(tmp_path: Path, warm: Path) -> None:
    made = page(tmp_path, f"{EMPTY}```sh\ntrue   # as always\nfalse\n```\n")
    [fault] = faults(made, tmp_path / "run", warm)
    assert "exit 1, not 0: false" in fault


def test_an_exit_code_that_is_claimed_is_looked_at(tmp_path: Path, warm: Path) -> None:
    body = f"{EMPTY}<!-- run: exit 4 -->\n```console\n$ (exit 4)\n```\n"
    assert faults(page(tmp_path, body), tmp_path / "one", warm) == []
    assert faults(page(tmp_path, body.replace("$ (exit 4)", "$ true")), tmp_path / "two", warm)


def test_what_is_not_shown_is_run_first(tmp_path: Path, warm: Path) -> None:
    body = f"{EMPTY}<!-- run: first echo hello > file -->\n```console\n$ cat file\nhello\n```\n"
    assert faults(page(tmp_path, body), tmp_path / "one", warm) == []


def test_what_is_said_of_a_block_is_known(tmp_path: Path) -> None:
    for said in ("never", "not,", "exit", "none"):
        with pytest.raises(ValueError, match="what is"):
            list(blocks(page(tmp_path, f"<!-- run: {said} -->\n```sh\ntrue\n```\n")))


@pytest.mark.parametrize("document", documents(), ids=str)
def test_commands_stand_in_blocks_that_are_run(document: Path) -> None:
    assert strays(ROOT / document) == [], "a block of commands is one of console or sh"


@pytest.mark.parametrize("text", ["$ jettison ls x", "jettison ls x"])
def test_commands_hide_in_no_other_block(tmp_path: Path, text: str) -> None:
    assert strays(page(tmp_path, f"```text\n{text}\n```\n")) == [text]


def test_no_block_is_passed_over(tmp_path: Path) -> None:
    body = f"{EMPTY}A.\n\n```sh\ntrue\n```\n\n<!-- run: exit 1 -->\n```sh\nfalse\n```\n"
    one, other = blocks(page(tmp_path, body))
    assert (one.stage, one.exit, other.stage, other.exit) == ("empty", 0, None, 1)
    for document in pages():
        found = re.findall(r"^ *```(?:sh|console)$", document.read_text("utf-8"), re.MULTILINE)
        assert len(list(blocks(document))) == len(found)


def test_a_page_without_a_stage_is_an_error(tmp_path: Path, warm: Path) -> None:
    with pytest.raises(ValueError, match="runs on no stage"):
        faults(page(tmp_path, "```sh\ntrue\n```\n"), tmp_path / "run", warm)


def test_a_page_can_be_written_anew(tmp_path: Path, warm: Path) -> None:
    made = page(tmp_path, f"{EMPTY}Text.\n\n```console\n$ echo one\ntwo\n$ true\n```\n\nMore.\n")
    record(made, tmp_path / "recorded", warm)
    assert "```console\n$ echo one\none\n$ true\n```\n\nMore." in made.read_text("utf-8")
    assert faults(made, tmp_path / "run", warm) == []


# What a page may say otherwise.

HEX = "0123456789ab" * 5 + "cdef"


@pytest.mark.parametrize(
    ("said", "printed"),
    [
        (f"sha256:{HEX}", f"sha256:{HEX[::-1]}"),
        ("sha256:001864d72312  image", "sha256:ab1864d72312   image"),
        ("2.8 MB (2,754,645 bytes)", "2.9 MB (2,854,645 bytes)"),
        ("until 2026-12-04 11:33 UTC", "until 2027-01-04 10:00 UTC"),
        ("created 2026-11-18T11:32:54Z", "created 2026-01-18T01:02:04Z"),
        ("Run 20261127-113317-qaeuu:", "Run 20270101-000000-abcde:"),
        ("took 0.3 s", "took 12 s"),
        ("a  b", "a      b"),
    ],
)
def test_digests_times_and_nearly_sizes_may_differ(said: str, printed: str) -> None:
    assert agrees(said, printed)


@pytest.mark.parametrize(
    ("said", "printed"),
    [
        ("2.8 MB (2,754,645 bytes)", "0 B (0 bytes)"),
        ("2.8 MB can go", "3.8 MB can go"),
        ("2.8 MB can go", "2.8 kB can go"),
        ("2,754,645 bytes", "2,054,645 bytes"),
        ("freed, as predicted", "freed, not as predicted"),
        ("3 tags are gone", "2 tags are gone"),
        ("until 2026-12-04 11:33 UTC", "until the registry is collected"),
        ("sha256:001864d72312", "sha512:001864d72312"),
        ("✓ gone", "✗ gone"),
        ("one", ""),
    ],
)
def test_nothing_else_may(said: str, printed: str) -> None:
    assert not agrees(said, printed)
    assert differences([said], [printed])


def test_rows_may_stand_in_another_order() -> None:
    rows = ["delete a  1 kB", "delete b  3 kB", "keep c"]
    assert differences(rows, [rows[1], rows[0], rows[2]]) == []
    assert differences(rows, [rows[2], *rows[:2]])
    assert differences(rows, [rows[0], rows[0], rows[2]])


# What is not run.


def test_every_reason_is_a_reason() -> None:
    for block in unrun():
        assert block.reason
        assert len(block.reason.split()) >= 3, block.name


def unrun() -> list[Block]:
    return [block for one in pages() for block in blocks(one) if block.reason is not None]


def calls(block: Block) -> list[list[str]]:
    """The words behind `jettison` in each of its calls in a block."""
    found = list[list[str]]()
    for command in block.commands:
        lexer = shlex.shlex(command.text.replace("\\\n", " "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        call: list[str] | None = None
        for word in lexer:
            if set(word) <= set("|&;<>()"):
                call = None
            elif call is not None:
                call.append(word)
            elif word == "jettison":
                call = []
                found.append(call)
    return found


def parse(words: list[str]) -> None:
    """Parse a call as the program does, and run nothing."""
    command: Any = get_command(app)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        _, command, words = command.resolve_command(command.context_class(command), words)
    if not hasattr(command, "commands"):
        command.make_context("jettison", list(words))


def test_what_is_not_run_is_parsed() -> None:
    found = [(block.name, call) for block in unrun() for call in calls(block)]
    assert len(found) > 20
    for name, call in found:
        try:
            parse(call)
        except Exception as error:  # noqa: BLE001 - whatever the parser says of it
            pytest.fail(f"{name}: jettison {shlex.join(call)}: {error}")


def test_an_option_that_there_is_not_is_found() -> None:
    with pytest.raises(Exception, match="--never"):
        parse(["rm", "localhost:5000/app:1", "--never"])
