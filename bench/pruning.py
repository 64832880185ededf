"""Measures `jettison prune`: beside other ways, beside wrk, and on a large storage."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from bench import servers
from bench.histories import History, make_history
from bench.images_of_a_year import Year, make_year, newest, repository_name
from bench.options import say
from bench.programs import BenchError, captured, clean_environment, removed, weight
from bench.pruners import PRUNERS, Pruner
from bench.report import Target
from bench.requests import REQUEST
from bench.traffic import parse_wrk
from jettison.model.mediatypes import ACCEPT

__all__ = ["Contest", "Figure", "Left", "Pruning", "Scale", "count_left"]

KEEP: Final = 10
JOBS: Final = 8
"""As many connections as `--jobs` has by default; wrk gets the same."""
WRK_SECONDS: Final = 5
TURNS: Final = 3
PLANNING: Final = Path(__file__).with_name("planning.py")
BLOBS: Final = "docker/registry/v2/blobs/sha256"
REPOSITORIES: Final = "docker/registry/v2/repositories"
NAMES_ONLY: Final = """\
rules:
  - tags: [b1*]
    remove: all
max_removal: 100%
"""
BY_TIME: Final = """\
rules:
  - tags: ['*']
    keep: {last: 10}
    remove: rest
max_removal: 100%
"""
YEARLY: Final = """\
rules:
  - name: builds
    tags: [b*]
    keep: {last: 10, within: 30d, monthly: 12}
    remove: rest
  - name: untagged
    state: untagged
    remove: {older_than: 7d}
max_removal: 100%
"""
WRK: Final = """\
local asked, place = {}, 0
function init()
  for line in io.lines("FILE") do asked[#asked + 1] = wrk.format("GET", line) end
end
function request()
  place = place % #asked + 1
  return asked[place]
end
"""


class Left(NamedTuple):
    """What is in a storage: tags, linked manifests, and what a collection would free."""

    tags: int
    manifests: int
    blobs_to_free: int
    bytes_to_free: int


class Contest(NamedTuple):
    """What one way to prune cost, and what it left."""

    name: str
    seconds: float
    requests: Mapping[str, int]
    left: Left
    remark: str

    @property
    def total(self) -> int:
        """All requests."""
        return sum(self.requests.values())


class Figure(NamedTuple):
    """One figure of Jettison's, and what it should be."""

    name: str
    figure: float
    unit: str
    target: Target | None = None
    remark: str = ""

    @property
    def met(self) -> bool | None:
        """Whether it is as it should be; None where nothing was aimed at."""
        return None if self.target is None else self.target.met(self.figure)


class Scale(NamedTuple):
    """How much of each there is: the registry of both races, and the storage."""

    year: Year
    history: History


class Pruning:
    """Measures on trees below ``folder``."""

    def __init__(self, folder: Path, scale: Scale, pruners: Sequence[Pruner] = PRUNERS) -> None:
        self._folder = folder
        self._scale = scale
        self._pruners = pruners
        self._home = folder / "home"
        self._home.mkdir()
        self._environment = clean_environment(self._home) | {
            "XDG_CACHE_HOME": str(self._home / "cache")
        }
        self.contests: list[Contest] = []
        self.rates: list[Figure] = []
        self.scale: list[Figure] = []

    def run(self, sections: Sequence[str]) -> None:
        """Measure these sections."""
        if {"contest", "rate"} & set(sections):
            year = self._scale.year
            say(f"making {year.repositories * year.tags:,} images")
            make_year(self._folder / "year", year)
        if "contest" in sections:
            names = [repository_name(number) for number in range(year.repositories)]
            (self._home / "names").write_text("".join(f"{name}\n" for name in names), "utf-8")
            for pruner in self._pruners:
                if shutil.which(pruner.program) is None:
                    say(f"{pruner.program} is not here")
                    continue
                self.contests.append(self._contest(pruner))
        if "rate" in sections:
            self._rate()
        if "scale" in sections:
            self._large()

    # Beside others.

    def _contest(self, pruner: Pruner) -> Contest:
        say(pruner.name)
        with self._serving(copied=True) as server:
            before = server.log_size()
            command = pruner.command(self._home, server.address, KEEP)
            variables = pruner.variables(self._home, server.address, KEEP)
            began = time.perf_counter()
            self._done(command, variables)
            took = time.perf_counter() - began
            requests = Counter(REQUEST.findall(server.log_after(before)))
            if not requests:
                raise BenchError("the registry logs no requests")
            left = self._expect_newest(pruner.name, server.root)
        return Contest(pruner.name, took, requests, left, pruner.remark)

    def _expect_newest(self, name: str, root: Path) -> Left:
        year = self._scale.year
        for number in range(year.repositories):
            tags = root / REPOSITORIES / repository_name(number) / "_manifests" / "tags"
            # Distribution 2 leaves the folder of a tag that it deleted with its manifest.
            found = {tag.name for tag in tags.iterdir() if (tag / "current/link").exists()}
            if found != newest(year, number, KEEP):
                raise BenchError(f"{name}: {repository_name(number)} does not have the newest tags")
        return count_left(root)

    @contextmanager
    def _serving(self, *, copied: bool) -> Iterator[servers.Server]:
        root = self._folder / "year"
        for used in ("cache", "state"):
            shutil.rmtree(self._home / used, ignore_errors=True)
        if copied:
            root = self._folder / "served"
            shutil.copytree(self._folder / "year", root)
        folder = self._folder / "server"
        try:
            with servers.Server("docker-registry", folder, root, self._environment) as server:
                yield server
        finally:
            if copied:
                removed(root)

    # Its requests beside wrk's.

    def _rate(self) -> None:
        """Let wrk and Jettison take turns at the same requests over as many connections."""
        policies = {"manifests": NAMES_ONLY, "manifests and configs": BY_TIME}
        asked = self._paths()
        for what, policy in policies.items():
            rates: dict[str, list[float]] = {"wrk": [], "Jettison": []}
            ours: list[float] = []
            theirs: list[float] = []
            for _ in range(TURNS):
                say(f"planning, {what}")
                rate, cpu, server_cpu = self._plan(what, policy)
                rates["Jettison"].append(rate)
                ours.append(cpu)
                theirs.append(server_cpu)
                say(f"wrk, {what}")
                rates["wrk"].append(self._wrk(asked[what]))
            share = median(rates["Jettison"]) / median(rates["wrk"])
            self.rates += [
                Figure(f"wrk, {what}", median(rates["wrk"]), "/s"),
                Figure(f"planning, {what}", median(rates["Jettison"]), "/s"),
                Figure(f"planning beside wrk, {what}", share, "×", Target(least=0.7)),
                Figure(f"processor time of a request, {what}", median(ours) * 1000, " ms"),
                Figure(f"the same, of the registry, {what}", median(theirs) * 1000, " ms"),
            ]

    def _plan(self, what: str, policy: str) -> tuple[float, float, float]:
        """Return requests a second, and the processor time of each: Jettison's, the registry's."""
        file = self._home / "policy.yml"
        file.write_text(policy, encoding="utf-8")
        with self._serving(copied=False) as server:
            before, used = server.log_size(), server.processor_seconds()
            command = [sys.executable, str(PLANNING), server.address, str(file)]
            found = json.loads(captured(command, self._environment))
            spent = server.processor_seconds() - used
            count = len(REQUEST.findall(server.log_after(before)))
        if count < self._scale.year.repositories * self._scale.year.tags:
            raise BenchError(f"planning, {what}: only {count} requests")
        return count / found["plan"], found["cpu"] / count, spent / count

    def _paths(self) -> dict[str, list[str]]:
        """Return the paths that a plan asks for, as far as they are the bulk."""
        manifests, both = [], []
        year = self._scale.year
        for number in range(year.repositories):
            name = repository_name(number)
            tags = self._folder / "year" / REPOSITORIES / name / "_manifests" / "tags"
            for image in range(year.tags):
                digest = (tags / f"b{image}/current/link").read_text(encoding="utf-8")
                manifest = json.loads(_blob(self._folder / "year", digest))
                manifests.append(f"/v2/{name}/manifests/b{image}")
                both += [manifests[-1], f"/v2/{name}/blobs/{manifest['config']['digest']}"]
        return {"manifests": manifests, "manifests and configs": both}

    def _wrk(self, paths: Sequence[str]) -> float:
        file, script = self._home / "paths", self._home / "wrk.lua"
        file.write_text("".join(f"{path}\n" for path in paths), encoding="utf-8")
        script.write_text(WRK.replace("FILE", str(file)), encoding="utf-8")
        with self._serving(copied=False) as server:
            options = ["-t1", f"-c{JOBS}", f"-d{WRK_SECONDS}s", "--latency", "-s", str(script)]
            url = f"http://{server.address}"
            command = ["wrk", *options, "-H", f"Accept: {ACCEPT}", url]
            return parse_wrk(captured(command, self._environment).decode()).rate

    # A large storage.

    def _large(self) -> None:
        history = self._scale.history
        root = self._folder / "large"
        tags = history.repositories * history.tags
        say(f"making {tags:,} tags")
        make_history(root, history, time.time())
        file = self._home / "policy.yml"
        file.write_text(YEARLY, encoding="utf-8")
        say("planning")
        planning = [sys.executable, str(PLANNING), str(root), str(file)]
        found = [json.loads(captured(planning, self._environment)) for _ in range(TURNS)]
        listing, whole = (median(one[key] for one in found) for key in ("listing", "plan"))
        full = tags >= 100_000
        command = [servers.JETTISON, "prune", str(root), "--policy", str(file), "-n"]
        say("as a command")
        to_file = self._to_file([*command, "--list"])
        plan = self._home / "plan.json"
        out, _ = self._to_file([*command[:-1], "--out", str(plan)])
        terminal, shown = self._on_terminal([*command, "--list"])
        summed_up, _ = self._on_terminal(command)
        peak = weight([*command, "--list"], self._environment).largest / 1e6
        self.scale += [
            Figure("reading all", listing, " s", Target(most=15, unit=" s") if full else None),
            Figure("planning", whole - listing, " s", Target(most=5, unit=" s") if full else None),
            Figure("memory of the command", peak, " MB", Target(most=250, unit=" MB")),
            Figure("-n --list to a file", to_file[0], " s", remark=f"{to_file[1]:,} lines"),
            Figure("-n --list on a terminal", terminal, " s", remark=f"{shown:,} lines"),
            Figure("-n on a terminal, summed up", summed_up, " s"),
            Figure("--out", out, " s", remark=f"a plan of {plan.stat().st_size / 1e6:.0f} MB"),
        ]

    def _to_file(self, command: Sequence[str]) -> tuple[float, int]:
        """Return the seconds that a command takes, and the lines that it writes into a file."""
        output = self._home / "output"
        with output.open("wb") as file:
            began = time.perf_counter()
            self._done(command, {}, file.fileno())
            took = time.perf_counter() - began
        return took, output.read_bytes().count(b"\n")

    def _on_terminal(self, command: Sequence[str]) -> tuple[float, int]:
        """Return the same for a terminal that takes what it gets."""
        ours, theirs = pty.openpty()
        lines = 0

        def take() -> None:
            nonlocal lines
            while True:
                try:
                    taken = os.read(ours, 65536)
                except OSError:
                    return  # the other end is closed
                if not taken:
                    return
                lines += taken.count(b"\n")

        reader = threading.Thread(target=take)
        reader.start()
        began = time.perf_counter()
        try:
            self._done(command, {"TERM": "xterm"}, theirs)
            took = time.perf_counter() - began
        finally:
            os.close(theirs)
            reader.join()
            os.close(ours)
        return took, lines

    def _done(
        self, command: Sequence[str], variables: Mapping[str, str], output: int | None = None
    ) -> None:
        done = subprocess.run(
            command,
            env=self._environment | dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if output is None else output,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            told = done.stderr[-500:]
            raise BenchError(f"exit {done.returncode}: {' '.join(command)[:200]}\n{told}")


def count_left(root: Path) -> Left:
    """Count what is in a storage, and the blobs that no linked manifest needs."""
    tags = manifests = 0
    needed: set[str] = set()
    for link in (root / REPOSITORIES).glob("*/*/_manifests/*/*/*/link"):
        if "/_manifests/tags/" in str(link):
            tags += 1
            continue
        manifests += 1
        digest = link.read_text(encoding="utf-8")
        raw = _blob(root, digest)
        needed |= {digest, *re.findall(r"sha256:[0-9a-f]{64}", raw.decode())}
    free = [
        blob.stat().st_size
        for blob in (root / BLOBS).glob("*/*/data")
        if f"sha256:{blob.parent.name}" not in needed
    ]
    return Left(tags, manifests, len(free), sum(free))


def _blob(root: Path, digest: str) -> bytes:
    encoded = digest.removeprefix("sha256:")
    return (root / BLOBS / encoded[:2] / encoded / "data").read_bytes()
