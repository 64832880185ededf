"""Whatever the program is started on: no traceback, one line, an exit code that means something."""

import json
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from jettison.demo.images import image, layer, random_bytes
from tests.support.cli import Jettison
from tests.support.registry import DockerRegistry, RegistryFactory, free_port
from tests.support.trees import Tree

MADE = image([layer({"app": random_bytes(1, 2000)})])
ESCAPE = "\x1b]0;owned\x07\x1b[2J\r\nerror: forged"
CLOSED = f"127.0.0.1:{free_port()}"


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """A tree with an image, and a blob that nothing needs; all of it old."""
    tree = Tree(tmp_path / "registry")
    tree.image("app", "1", [b"layer" * 100])
    tree.blob(b"garbage" * 100)
    return tmp_path / "registry"


@dataclass
class Terminal:
    """A program on a terminal."""

    process: subprocess.Popen[bytes]
    master: int
    seen: bytes = b""

    def until(self, text: bytes | None, seconds: float = 30) -> bytes:
        """Read until `text` was shown, or (None) the end."""
        end = time.monotonic() + seconds
        while (text is None or text not in self.seen) and time.monotonic() < end:
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    piece = os.read(self.master, 65536)
                except OSError:
                    break
                if not piece:
                    break
                self.seen += piece
        assert text is None or text in self.seen, self.seen
        return self.seen

    def interrupt(self) -> None:
        """Do what a terminal does at Ctrl-C."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> int:
        self.until(None)
        return self.process.wait(10)


@contextmanager
def terminal(
    jettison: Jettison, *args: str | Path, env: Mapping[str, str] | None = None
) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    started = subprocess.Popen(
        [*jettison.command, *map(str, args)],
        cwd=jettison.cwd,
        env=os.environ | {"TERM": "xterm"} | dict(env or {}),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield Terminal(started, master)
    finally:
        if started.poll() is None:
            started.kill()
        started.wait(10)
        os.close(master)


@pytest.mark.parametrize("command", ["gc", "rm"])
def test_ctrl_c_at_a_prompt(
    command: str, registry: DockerRegistry, storage: Path, jettison: Jettison
) -> None:
    registry.push("app", "1", MADE)
    target = storage if command == "gc" else f"{registry.host}/app:1"
    options = ["--grace", "0s", "--assume-quiescent"] if command == "gc" else []
    before = registry.snapshot()
    with terminal(jettison, command, target, *options) as shown:
        shown.until(b"[y/N]")
        shown.interrupt()
        code = shown.end()
    assert code == 130
    last = shown.seen.decode().replace("\x1b[1;31m", "").replace("\x1b[0m", "").splitlines()[-1]
    assert last == "error: interrupted; nothing was changed"
    assert b"Traceback" not in shown.seen
    assert registry.snapshot() == before


def test_what_a_pusher_wrote_is_shown_and_not_obeyed(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    hostile = image(
        [layer({"app": random_bytes(2, 100)})], created=f"{ESCAPE}2020", architecture=f"a{ESCAPE}"
    )
    registry.push("app", "1", hostile)
    for command in (["inspect"], ["rm", "--dry-run"]):
        with terminal(jettison, command[0], f"{registry.host}/app:1", *command[1:]) as shown:
            assert shown.end() == 0
        assert b"\x1b]0;" not in shown.seen
        assert b"\nerror: forged" not in shown.seen


@pytest.mark.distribution  # whose API hides what is untagged, so that there is a ≤
@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"TERM": "dumb"},
    ],
    ids=str,
)
def test_poor_terminals(
    variables: dict[str, str], registry: DockerRegistry, jettison: Jettison
) -> None:
    registry.push("app", "1", MADE)
    with terminal(jettison, "rm", f"{registry.host}/app:1", "--yes", env=variables) as shown:
        assert shown.end() == 0, shown.seen
    assert b"Traceback" not in shown.seen
    if "TERM" in variables:
        assert b"\x1b" not in shown.seen
    else:
        assert b"<= " in shown.seen
    help_page = subprocess.run(
        [*jettison.command, "rm", "--help"],
        env=os.environ | variables,
        capture_output=True,
        check=True,
    )
    assert b"--dry-run" in help_page.stdout


@pytest.mark.parametrize("redirected", [">/dev/full", "2>/dev/full", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_what_is_printed_has_no_place(redirected: str, storage: Path, jettison: Jettison) -> None:
    """What was asked for is done all the same; a full disk is told, and ends with 1."""
    command = " ".join([*jettison.later().command, "gc", str(storage), "--yes", redirected])
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == (1 if redirected == ">/dev/full" else 0), done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert "Exception ignored" not in done.stderr
    if redirected == ">/dev/full":
        assert done.stderr.count("error: ") == 1
        assert "No space left on device" in done.stderr
    left = list((storage / "docker/registry/v2/blobs").rglob("data"))
    assert len(left) == 3  # the manifest, its config and its layer


@pytest.mark.parametrize("command", ["runs", "ls", "gc --help"])
def test_a_reader_that_has_seen_enough(command: str, jettison: Jettison) -> None:
    words = [*jettison.command, *command.split(), *([CLOSED] if command == "ls" else [])]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=jettison.cwd
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        told = process.stderr.read()
    assert b"Traceback" not in told
    assert b"Exception ignored" not in told
    assert b"BrokenPipe" not in told


def test_folders_of_the_user_that_cannot_be_used(
    registry_factory: RegistryFactory, jettison: Jettison, tmp_path: Path
) -> None:
    registry = registry_factory(delete=True)
    registry.push("app", "1", MADE)
    names = ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    blocked = dict.fromkeys(names, "/proc/nothing")
    assert jettison("inspect", f"{registry.host}/app:1", env=blocked).stdout
    assert jettison("runs", env=blocked).code == 0
    before = registry.snapshot()
    told = jettison("rm", f"{registry.host}/app:1", "--yes", env=blocked, check=1)
    assert told.stderr.count("error: ") == 1
    assert "/proc/nothing" in told.stderr
    assert registry.snapshot() == before
    without = {key: value for key, value in os.environ.items() if key not in names}
    done = subprocess.run(
        [*jettison.command, "ls", registry.host], env=without, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr


def test_errors_for_programs(jettison: Jettison) -> None:
    for command, code, kind in (
        (["ls", CLOSED], 10, "unreachable"),
        (["rm", "x"], 2, "invalid_reference"),
        (["rm"], 2, "usage"),
        (["ls", "--no-such-option"], 2, "usage"),
        (["undo", "last"], 1, "not_found"),
        (["gc", "/no/such/folder"], 1, "storage"),
    ):
        told = jettison(*command, "-o", "json", check=code)
        assert told.stdout == ""
        document = json.loads(told.stderr.splitlines()[-1])
        assert document["schema_version"] == 1
        assert document["error"]["code"] == kind, document
        assert document["error"]["exit_code"] == code


def test_a_fault_of_ours_is_one_line(jettison: Jettison, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(
        "import jettison.cli.runs as m, jettison.storage.journal as j\n"
        "def fail(*_): raise ZeroDivisionError('by\\nzero')\n"
        "j.Journal.heads = fail\n"
    )
    told = jettison("runs", env={"PYTHONPATH": str(broken)}, check=1)
    assert told.stderr.splitlines()[0] == "error: a fault in jettison: ZeroDivisionError: by zero"
    assert "Traceback" not in told.stderr
    shown = jettison("runs", env={"PYTHONPATH": str(broken), "JETTISON_DEBUG": "1"}, check=1)
    assert "Traceback" in shown.stderr


def test_ctrl_c_while_it_works_ends_with_one_line(storage: Path, jettison: Jettison) -> None:
    with terminal(jettison, "login", "localhost:5000") as shown:
        shown.until(b"Username:")
        shown.interrupt()
        assert shown.end() == 130
    assert shown.seen.count(b"interrupted") == 1
    assert b"Traceback" not in shown.seen
