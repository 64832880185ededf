"""Pages of the manual and completions, made from the program's own help."""

import shutil
import subprocess
from pathlib import Path

import pytest

from release.command_tree import Command, commands
from release.completions import SHELLS
from release.manual import manual_page, page_name

EVERY = list(commands())


def program(name: str) -> str:
    found = shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.fixture
def written(tmp_path: Path) -> Path:
    for command in EVERY:
        text = manual_page(command, EVERY, "1.2.3", 0)
        (tmp_path / f"{page_name(command)}.1").write_text(text, "utf-8")
    for shell, (_, render) in SHELLS.items():
        (tmp_path / shell).write_text(render(EVERY), "utf-8")
    return tmp_path


@pytest.mark.parametrize("command", EVERY, ids=page_name)
def test_a_page_says_what_the_help_says(command: Command) -> None:
    text = manual_page(command, EVERY, "1.2.3", 0).replace("\\-", "-")
    for option in command.options:
        assert all(name in text for name in option.names)
    assert all(line.strip() in text for line in command.examples if "\\" not in line)
    assert ".SH EXIT STATUS" in text


def test_man_has_nothing_to_say_against_the_pages(written: Path) -> None:
    pages = sorted(map(str, written.glob("*.1")))
    done = subprocess.run(
        [program("mandoc"), "-T", "lint", "-W", "warning", *pages],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.stdout == ""


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_can_read_its_completion(written: Path, shell: str) -> None:
    subprocess.run([program(shell), "-n", str(written / shell)], check=True)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("jettison g", {"gc", "garbage-collect"}),
        ("jettison policy ", {"test", "import", "schema", "--help"}),
        ("jettison gc --gr", {"--grace"}),
        ("jettison gc --output js", {"json"}),
        ("jettison gc --grace ", set()),
    ],
)
def test_bash_completes(written: Path, line: str, wanted: set[str]) -> None:
    words = line.split(" ")
    script = (
        f"source {written}/bash; COMP_WORDS=({' '.join(words[:-1])} '{words[-1]}');"
        f" COMP_CWORD={len(words) - 1}; _jettison; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    done = subprocess.run(
        [program("bash"), "-c", script], check=True, capture_output=True, text=True
    )
    assert set(done.stdout.split()) - {"--help"} == wanted - {"--help"}


def test_fish_completes(written: Path) -> None:
    script = f"source {written}/fish; complete -C 'jettison gc --gr'; complete -C 'jettison und'"
    done = subprocess.run(
        [program("fish"), "-c", script], check=True, capture_output=True, text=True
    )
    assert [line.partition("\t")[0] for line in done.stdout.splitlines()] == ["--grace", "undo"]
