"""How many requests `ls` and `rm` make, and how long `rm` takes beside other programs.

One repository, each tag an image of its own. The requests are the lines of the registry's own
access log. To know that a manifest has no other tag, `rm` has to ask for each tag of the repository
once, as `ls -l` does: no API tells it otherwise. So two figures are given for `rm`: all of its
requests, and those beyond one for each tag of the repository; both for each tag that is removed.

The others do less: `regctl tag rm` leaves the manifest, so that a collection frees nothing, and
`skopeo delete` takes all other tags of the manifest too. On docker-registry 2 several `regctl tag
rm` disturb one another, for each pushes the same dummy; a run that fails has no line.
"""

import argparse
import datetime as dt
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

# The folder above, for `bench.…`, wherever this is started from.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import machine, servers
from bench.options import positive, say, scratch, shown_command, terminated
from bench.programs import BenchError, clean_environment
from bench.report import write_block
from bench.trees import Shape, make_tree

HERE: Final = Path(__file__).resolve().parent
REPOSITORY: Final = "team00/app00000"
REQUEST: Final = re.compile(r'"(GET|HEAD|PUT|POST|PATCH|DELETE) /v2/')
AT_ONCE: Final = 8
SERVERS: Final = ("docker-registry", "Distribution 3", "Jettison")
REMOVE_AT_MOST: Final = {"docker-registry": 8.0, "Distribution 3": 4.0, "Jettison": 4.0}
"""Requests for each removed tag, beyond one for each tag of the repository."""

NAMES_AT_MOST: Final = 1.1


class Measured(NamedTuple):
    """What a command cost: requests by method, and its wall time in seconds."""

    server: str
    what: str
    requests: Mapping[str, int]
    seconds: float
    tags: int
    """How many tags the figure is divided by."""
    beyond: int = 0
    """How many requests are not counted: one for each tag of the repository."""
    most: float | None = None

    @property
    def total(self) -> int:
        """All requests."""
        return sum(self.requests.values())

    @property
    def each(self) -> float:
        """Requests for each tag, without those that every listing needs."""
        return (self.total - self.beyond) / self.tags

    @property
    def met(self) -> bool | None:
        """Whether it is as few as they should be; None where nothing was aimed at."""
        return None if self.most is None else self.each <= self.most


class Bench:
    """Counts and times each command on each server, on a tree of its own."""

    def __init__(self, folder: Path, tags: int, removed: int) -> None:
        self._folder = folder
        self._tags = tags
        self._removed = [f"v{number}" for number in range(0, tags, tags // removed)][:removed]
        self._tree = folder / "tree"
        self._home = folder / "home"
        self._home.mkdir()
        self._environment = clean_environment(self._home) | {
            "XDG_CACHE_HOME": str(self._home / "cache"),
            "REGCTL_CONFIG": str(self._home / "regctl.json"),
        }
        self.measured: list[Measured] = []

    def run(self, names: Sequence[str], *, brief: bool = False) -> None:
        """Measure everything; ``brief``: of the ways of `rm` only the first."""
        make_tree(self._tree, Shape(1, self._tags, deleted=0, untagged=0))
        ways = [(False, False)] if brief else [(q, c) for q in (False, True) for c in (False, True)]
        for name in names:
            with self._serving(name) as server:
                self._list(server)
            for quick, cached in ways:
                with self._serving(name) as server:
                    self._remove(server, quick=quick, cached=cached)
            for what, command in OTHERS.items():
                with self._serving(name) as server:
                    self._others(server, what, command)

    @contextmanager
    def _serving(self, name: str) -> Iterator[servers.Server]:
        root = self._folder / "served"
        shutil.copytree(self._tree, root)
        shutil.rmtree(self._home / "cache", ignore_errors=True)
        shutil.rmtree(self._home / "state", ignore_errors=True)
        try:
            with servers.Server(name, self._folder / "server", root, self._environment) as server:
                yield server
        finally:
            shutil.rmtree(root)

    def _list(self, server: servers.Server) -> None:
        target = f"{server.address}/{REPOSITORY}"
        for what, command in (
            ("ls, names", ["ls", target]),
            ("ls -l, empty cache", ["ls", "-l", target]),
            ("ls -l, full cache", ["ls", "-l", target]),
        ):
            self._measure(
                server, what, [servers.JETTISON, *command], tags=self._tags, most=NAMES_AT_MOST
            )

    def _remove(self, server: servers.Server, *, quick: bool, cached: bool) -> None:
        target = f"{server.address}/{REPOSITORY}"
        if cached:
            self._command([servers.JETTISON, "ls", "-l", target])
        command = [servers.JETTISON, "rm", *(f"{target}:{tag}" for tag in self._removed), "--yes"]
        what = f"rm{' --quick' if quick else ''}, {'full' if cached else 'empty'} cache"
        self._measure(
            server,
            what,
            command + ["--quick"] * quick,
            tags=len(self._removed),
            beyond=self._tags,
            most=REMOVE_AT_MOST[server.name],
        )
        self._expect_removed(server)

    def _others(
        self, server: servers.Server, what: str, command: Callable[[str, str], list[str]]
    ) -> None:
        one = command(server.address, "{}")
        if shutil.which(one[0]) is None:
            say(f"{one[0]} is not here")
            return
        if one[0] == "regctl":
            self._command(["regctl", "registry", "set", "--tls", "disabled", server.address])
        names = "\n".join(f"{server.address}/{REPOSITORY}:{tag}" for tag in self._removed)
        at_once = AT_ONCE if one[0] == "regctl" else 1
        line = ["xargs", "-P", str(at_once), "-I", "{}", *command(server.address, "{}")]
        try:
            self._measure(server, what, line, tags=len(self._removed), given=names)
            self._expect_removed(server)
        except BenchError as error:
            # Several at once disturb one another on Distribution 2, where each pushes a dummy.
            say(f"{server.name}: {what} failed: {str(error)[-200:]}")
            last = self.measured[-1:]
            if last and (last[0].server, last[0].what) == (server.name, what):
                self.measured.pop()

    def _measure(
        self,
        server: servers.Server,
        what: str,
        command: list[str],
        *,
        tags: int,
        beyond: int = 0,
        most: float | None = None,
        given: str = "",
    ) -> None:
        say(f"{server.name}: {what}")
        before = server.log_size()
        began = time.perf_counter()
        self._command(command, given)
        took = time.perf_counter() - began
        found = Counter(REQUEST.findall(server.log_after(before)))
        if not found:
            raise BenchError(f"{server.name} logs no requests")
        self.measured.append(Measured(server.name, what, found, took, tags, beyond, most))

    def _command(self, command: list[str], given: str = "") -> None:
        done = subprocess.run(
            command,
            input=given,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = f"{done.stdout[-500:]}{done.stderr[-500:]}"
            raise BenchError(f"exit {done.returncode}: {' '.join(command)[:200]}\n{said}")

    def _expect_removed(self, server: servers.Server) -> None:
        tags = server.root / f"docker/registry/v2/repositories/{REPOSITORY}/_manifests/tags"
        if sum(1 for _ in tags.iterdir()) != self._tags - len(self._removed):
            raise BenchError(f"{server.name}: not the tags that were to go are gone")


OTHERS: Final[Mapping[str, Callable[[str, str], list[str]]]] = {
    f"regctl tag rm, {AT_ONCE} at a time": lambda _, ref: ["regctl", "tag", "rm", ref],
    "skopeo delete, one after another": lambda _, ref: [
        *("skopeo", "delete", "--tls-verify=false", f"docker://{ref}")
    ],
}


def table(measured: Sequence[Measured]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = [
        "| registry | command | requests | a tag | beyond a listing | target | met? | time |",
        "|---|---|---:|---:|---:|---|---|---:|",
    ]
    for one in measured:
        beyond = f"{one.each:.2f}" if one.beyond else ""
        of = " beyond" if one.beyond else ""
        target = f"≤ {one.most:g}{of}" if one.most is not None else ""
        met = {None: "", True: "yes", False: "no"}[one.met]
        cells = (one.server, one.what, f"{one.total:,}", f"{one.total / one.tags:.2f}", beyond)
        lines.append(f"| {' | '.join(cells)} | {target} | {met} | {one.seconds:.2f} s |")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; return the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(
        prog="bench/requests.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="40 tags, 8 removed: no result")
    parser.add_argument("--brief", action="store_true", help="`rm` once on each registry")
    parser.add_argument("--tags", type=positive, default=None, help="in the repository (2000)")
    parser.add_argument("--removed", type=positive, default=None, help="of them (200)")
    parser.add_argument("--server", action="append", choices=SERVERS, help="may be repeated")
    parser.add_argument("--dir", type=Path, default=None, help="where trees and logs lie")
    parser.add_argument("--json", type=Path, default=None, help="write the figures there too")
    parser.add_argument("--write", action="store_true", help="write them into RESULTS.md")
    options = parser.parse_args(given)
    signal.signal(signal.SIGTERM, terminated)
    tags = options.tags or (40 if options.quick else 2000)
    removed = options.removed or (8 if options.quick else 200)
    names = [name for name in options.server or SERVERS if _is_here(name, asked=options.server)]
    try:
        with scratch(options.dir) as folder:
            bench = Bench(folder, tags, removed)
            bench.run(names, brief=options.brief)
            facts = machine.facts(folder, servers.JETTISON) | _versions()
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    lines = table(bench.measured)
    print(*lines, sep="\n")
    if options.json is not None:
        figures = [one._asdict() | {"total": one.total, "met": one.met} for one in bench.measured]
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if options.write:
        command = shown_command("bench/requests.py", given, ("--dir", "--json"))
        today = dt.datetime.now(dt.UTC).date().isoformat()
        title = f"## Requests of `ls` and `rm`: {removed} of {tags:,} tags"
        machine_lines = [f"- {name}: {value}" for name, value in facts.items()]
        told = " ".join((__doc__ or "").split())
        text = "\n".join([title, "", told, "", *lines, "", f"{today}, `{command}`", *machine_lines])
        write_block(HERE / "RESULTS.md", "requests", text + "\n")
    return 0


def _versions() -> dict[str, str]:
    """Return the versions of the other programs, as far as they are here."""
    asked = {
        "regctl": ["regctl", "version", "--format", "{{.VCSTag}}"],
        "skopeo": ["skopeo", "--version"],
    }
    return {
        name: subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]
        for name, command in asked.items()
        if shutil.which(command[0])
    }


def _is_here(name: str, *, asked: bool) -> bool:
    try:
        servers.require(name)
    except BenchError:
        if asked:
            raise
        say(f"{name} is not here")
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
