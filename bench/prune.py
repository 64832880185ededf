"""`jettison prune` beside a loop of skopeo and of regctl, beside wrk, and on a large storage.

Three sections. `contest`: keep the newest 10 of each repository on docker-registry, each way on a
fresh copy of the same storage, one after another; the requests are the lines of the registry's own
access log, and what each leaves is counted in its storage. `rate`: the requests a second of a plan
over the API beside those of wrk for the same paths over as many connections, in turns; a plan that
needs no times reads manifests alone. `scale`: a plan from a storage, and what printing it costs.
Without --full, a fifth of the images and a tenth of the tags that the figures are about.
"""

import argparse
import datetime as dt
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

# The folder above, for `bench.…`, wherever this is started from.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import machine, servers
from bench.histories import History
from bench.images_of_a_year import Year
from bench.options import positive, say, scratch, shown_command, terminated
from bench.programs import BenchError
from bench.pruners import PRUNERS
from bench.pruning import KEEP, Contest, Figure, Pruning, Scale
from bench.report import digits, write_block

HERE: Final = Path(__file__).resolve().parent
SECTIONS: Final = ("contest", "rate", "scale")
FULL: Final = Scale(Year(100, 50), History(1000, 100))
USUAL: Final = Scale(Year(20, 50), History(100, 100))
QUICK: Final = Scale(Year(2, 12), History(3, 20))


def contest_lines(contests: Sequence[Contest]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = [
        "| way | time | of ours | requests | of ours | tags | manifests | to collect | remark |",
        "|---|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    ours = next((one for one in contests if one.name == PRUNERS[0].name), None)
    for one in contests:
        slower = more = ""
        if ours is not None and one is not ours:
            slower = f"{one.seconds / ours.seconds:.1f}×"
            more = f"{one.total / ours.total:.1f}×"
        left = one.left
        frees = f"{left.blobs_to_free:,} blobs, {left.bytes_to_free:,} bytes"
        cells = (one.name, f"{one.seconds:.1f} s", slower, f"{one.total:,}", more)
        counts = (f"{left.tags:,}", f"{left.manifests:,}", frees, one.remark)
        lines.append(f"| {' | '.join((*cells, *counts))} |")
    return lines


def figure_lines(figures: Sequence[Figure]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = ["| measure | figure | target | met? | remark |", "|---|---:|---:|---:|---|"]
    for one in figures:
        target = "" if one.target is None else str(one.target)
        met = {None: "", True: "yes", False: "no"}[one.met]
        shown = f"{digits(one.figure)}{one.unit}"
        lines.append(f"| {one.name} | {shown} | {target} | {met} | {one.remark} |")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; return the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(given)
    signal.signal(signal.SIGTERM, terminated)
    scale = FULL if options.full else QUICK if options.quick else USUAL
    year = Year(options.repositories or scale.year.repositories, options.tags or scale.year.tags)
    if year.tags <= KEEP:
        print(f"error: --tags has to be more than {KEEP}", file=sys.stderr)
        return 2
    try:
        servers.require("docker-registry")
        if not options.quick and "contest" in (options.only or SECTIONS):
            _build_rivals()
        with scratch(options.dir) as folder:
            pruning = Pruning(folder, scale._replace(year=year))
            pruning.run(options.only or SECTIONS)
            facts = machine.facts(folder, servers.JETTISON) | _versions()
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    lines = _lines(pruning)
    print(*lines, sep="\n")
    if options.json is not None:
        document = {
            "contests": [one._asdict() | {"left": one.left._asdict()} for one in pruning.contests],
            "figures": [
                one._asdict() | {"target": one.target and str(one.target), "met": one.met}
                for one in (*pruning.rates, *pruning.scale)
            ],
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if options.write:
        command = shown_command("bench/prune.py", given, ("--dir", "--json"))
        today = dt.datetime.now(dt.UTC).date().isoformat()
        machine_lines = [f"- {name}: {value}" for name, value in facts.items()]
        told = " ".join((__doc__ or "").split())
        title = f"## `jettison prune`: the newest {KEEP} of {year.tags} in {year.repositories}"
        title += " repositories"
        text = "\n".join([title, "", told, "", *lines, "", f"{today}, `{command}`", *machine_lines])
        write_block(HERE / "RESULTS.md", "prune", text + "\n")
        say("wrote RESULTS.md")
    return 0


def _build_rivals() -> None:
    """Have what comes as Go modules built, where it is not here; the contest does without."""
    if not all(shutil.which(pruner.program) for pruner in PRUNERS):
        say("building regctl and regbot, once")
        command = ["make", "--silent", "-C", str(HERE.parent), "rivals"]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=False)


def _lines(pruning: Pruning) -> list[str]:
    tables = [
        contest_lines(pruning.contests) if pruning.contests else [],
        figure_lines(pruning.rates) if pruning.rates else [],
        figure_lines(pruning.scale) if pruning.scale else [],
    ]
    found: list[str] = []
    for lines in filter(None, tables):
        found += [*([""] if found else []), *lines]
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench/prune.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="next to nothing: no result")
    add("--full", action="store_true", help="100 repositories of 50 tags; 100,000 tags stored")
    add("--repositories", type=positive, default=None, help="of the contest and the rate")
    add("--tags", type=positive, default=None, help="in each of them")
    add("--only", nargs="+", choices=SECTIONS, metavar="SECTION", help=", ".join(SECTIONS))
    add("--dir", type=Path, default=None, help="where trees and logs lie")
    add("--json", type=Path, default=None, help="write the figures there too")
    add("--write", action="store_true", help="write them into RESULTS.md")
    return parser


def _versions() -> dict[str, str]:
    """Return the versions of the other programs, as far as they are here."""
    asked = {
        "skopeo": ["skopeo", "--version"],
        "regctl": ["regctl", "version", "--format", "{{.VCSTag}}"],
        "regbot": ["regbot", "version", "--format", "{{.VCSTag}}"],
        "wrk": ["wrk", "--version"],
    }
    found = {}
    for name, command in asked.items():
        if shutil.which(command[0]):
            # wrk ends with 1 after telling its version.
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            words = (done.stdout + done.stderr).split()
            found[name] = words[1] if name == "wrk" else words[-1]
    return found


if __name__ == "__main__":
    sys.exit(main())
