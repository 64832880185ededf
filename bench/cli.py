"""How long small commands take, from start to end, beside crane and skopeo.

The version, the help, and questions about a small registry on loopback and about its storage. The
programs take turns, the first of a turn another one each time; medians of all turns, wall time and
CPU time of the whole process. The targets are for an idle machine and for commands that wait for
nothing, so the CPU time is judged. crane and skopeo are compiled: what Python needs to start is in
the figures, and is what this is about.
"""

import argparse
import datetime as dt
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

# The folder above, for `bench.…`, wherever this is started from.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import machine, servers
from bench.options import positive, say, scratch, shown_command, terminated
from bench.programs import BenchError, Distribution, Job, clean_environment
from bench.report import Target, write_block
from bench.trees import Shape, make_tree

HERE: Final = Path(__file__).resolve().parent
REPOSITORY: Final = "team00/app00000"
JETTISON: Final = servers.JETTISON
TURNS: Final = 15
VERSION, HELP = "version", "help"
TARGETS: Final = {VERSION: Target(most=0.1, unit=" s"), HELP: Target(most=0.2, unit=" s")}


class Cost(NamedTuple):
    """What one run of a command took, in seconds."""

    wall: float
    cpu: float


class Measured(NamedTuple):
    """The medians of one program for one question, beside Jettison's."""

    what: str
    program: str
    wall: float
    cpu: float
    ratio: float | None = None
    """How many times Jettison's wall time it is; None for Jettison."""
    target: Target | None = None


def commands(address: str, storage: Path, folder: Path) -> dict[str, dict[str, list[str]]]:
    """Return for each question the command of each program that can answer it."""
    repository = f"{address}/{REPOSITORY}"
    plain, image = "--tls-verify=false", f"docker://{repository}"
    job = Job()
    return {
        VERSION: {
            "Jettison": [JETTISON, "--version"],
            "crane": ["crane", "version"],
            "skopeo": ["skopeo", "--version"],
        },
        HELP: {
            "Jettison": [JETTISON, "--help"],
            "crane": ["crane", "--help"],
            "skopeo": ["skopeo", "--help"],
        },
        "the repositories": {
            "Jettison": [JETTISON, "ls", address],
            "crane": ["crane", "catalog", "--insecure", address],
        },
        "the tags of one": {
            "Jettison": [JETTISON, "ls", repository],
            "crane": ["crane", "ls", "--insecure", repository],
            "skopeo": ["skopeo", "list-tags", plain, image],
        },
        "one image": {
            "Jettison": [JETTISON, "inspect", "--quick", f"{repository}:v0"],
            "crane": ["crane", "manifest", "--insecure", f"{repository}:v0"],
            "skopeo": ["skopeo", "inspect", plain, f"{image}:v0"],
        },
        "a dry collection": {
            "Jettison": [JETTISON, "gc", str(storage), "--dry-run"],
            "docker-registry": Distribution(folder).command(storage, job),
        },
    }


def cost(command: Sequence[str], environment: Mapping[str, str]) -> Cost:
    """Run a command to its end; raises :class:`BenchError` if that is an error."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.stderr.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        told = said.decode(errors="replace")[-500:]
        raise BenchError(f"exit {process.returncode}: {' '.join(command)[:200]}\n{told}")
    return Cost(wall, usage.ru_utime + usage.ru_stime)


def measure(
    what: str, programs: Mapping[str, Sequence[str]], turns: int, environment: Mapping[str, str]
) -> list[Measured]:
    """Let the programs take turns; the first run of each is not counted."""
    names = [name for name, command in programs.items() if shutil.which(command[0])]
    costs: dict[str, list[Cost]] = {name: [] for name in names}
    for name in names:
        cost(programs[name], environment)
    for turn in range(turns):
        first = turn % len(names)
        for name in [*names[first:], *names[:first]]:
            costs[name].append(cost(programs[name], environment))
    wall = {name: statistics.median(one.wall for one in costs[name]) for name in names}
    cpu = {name: statistics.median(one.cpu for one in costs[name]) for name in names}
    return [
        Measured(
            what,
            name,
            wall[name],
            cpu[name],
            None if name == "Jettison" else wall[name] / wall["Jettison"],
            TARGETS.get(what) if name == "Jettison" else None,
        )
        for name in names
    ]


def run(folder: Path, turns: int) -> list[Measured]:
    """Measure each question on a small tree below ``folder`` that Jettison serves."""
    home, tree = folder / "home", folder / "tree"
    home.mkdir()
    environment = clean_environment(home) | {"XDG_CACHE_HOME": str(home / "cache")}
    make_tree(tree, Shape(5, 20, deleted=0, untagged=0))
    found = []
    with servers.Server("Jettison", folder / "server", tree, environment) as server:
        for what, programs in commands(server.address, tree, folder).items():
            say(what)
            found += measure(what, programs, turns, environment)
    return found


def table(measured: Sequence[Measured]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = [
        "| question | program | time | CPU | of Jettison's time | target | met? |",
        "|---|---|---:|---:|---:|---|---|",
    ]
    for one in measured:
        ratio = "" if one.ratio is None else f"{one.ratio:.2f}×"
        target = "" if one.target is None else str(one.target)
        met = "" if one.target is None else "yes" if one.target.met(one.cpu) else "no"
        figures = f"{one.wall * 1000:.0f} ms | {one.cpu * 1000:.0f} ms"
        lines.append(f"| {one.what} | {one.program} | {figures} | {ratio} | {target} | {met} |")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; return the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(
        prog="bench/cli.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="3 turns: no result")
    parser.add_argument("--turns", type=positive, default=None, help=f"of each ({TURNS})")
    parser.add_argument("--dir", type=Path, default=None, help="where trees and logs lie")
    parser.add_argument("--json", type=Path, default=None, help="write the figures there too")
    parser.add_argument("--write", action="store_true", help="write them into RESULTS.md")
    options = parser.parse_args(given)
    signal.signal(signal.SIGTERM, terminated)
    try:
        with scratch(options.dir) as folder:
            measured = run(folder, options.turns or (3 if options.quick else TURNS))
            facts = machine.facts(folder, JETTISON) | _versions()
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    lines = table(measured)
    print(*lines, sep="\n")
    if options.json is not None:
        figures = [one._asdict() | {"target": one.target and one.target.most} for one in measured]
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if options.write:
        command = shown_command("bench/cli.py", given, ("--dir", "--json"))
        today = dt.datetime.now(dt.UTC).date().isoformat()
        machine_lines = [f"- {name}: {value}" for name, value in facts.items()]
        told = " ".join((__doc__ or "").split())
        title = "## Small commands beside crane and skopeo"
        text = "\n".join([title, "", told, "", *lines, "", f"{today}, `{command}`", *machine_lines])
        write_block(HERE / "RESULTS.md", "cli", text + "\n")
    return 0


def _versions() -> dict[str, str]:
    """Return the versions of the other programs, as far as they are here."""
    asked = {"crane": ["crane", "version"], "skopeo": ["skopeo", "--version"]}
    return {
        name: subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]
        for name, command in asked.items()
        if shutil.which(command[0])
    }


if __name__ == "__main__":
    sys.exit(main())
