"""Jettison's server beside docker-registry: how fast, how much memory, how soon."""

import argparse
import datetime as dt
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

# The folder above, for `bench.…`, wherever this is started from.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import machine, servers
from bench.chart import draw
from bench.options import positive, say, scratch, sections_help, shown_command, terminated
from bench.programs import BenchError
from bench.report import Block, Row, bars, markdown, text_table, unjudged, write_block
from bench.serving import FULL, QUICK, SECTIONS, Bench, Settings

HERE: Final = Path(__file__).resolve().parent
TITLE: Final = "`jettison serve` beside `docker-registry serve`"
METHOD: Final = (
    "Both with the settings that they ship with, so with their syncing to the disk, and with a "
    "line in a log file for each request; in turn, each first every other time; medians, with the "
    "lowest and the highest run. The ratio of a speed says how many times as fast Jettison is; "
    "that of a latency or of memory, how much of docker-registry's it is. Small requests over 32 "
    "connections: GET by `wrk` in one thread, HEAD by a loop of our own, which wrk cannot. Every "
    "upload is new to the registry, and is read again from its disk; downloads, and answers before "
    "and after each load, are compared byte by byte, lists name by name. A push of a small image "
    "is ten requests: HEAD, POST and PUT of three blobs of 4 KiB, and the manifest under a new "
    "tag; 16 clients push, each into a repository of its own. Memory: of one process "
    "what is resident (RSS), of several in proportion (PSS). docker-registry knows no pages of "
    "tags: it answers with all of them."
)
NO_RESULT: Final = "Not a result: little of everything (--quick)."

EPILOG: Final = """\
sections for --only:
{sections}
Without --only all of them: about fifteen minutes, and 3 GB below --dir. On a tmpfs
(--dir /dev/shm) nothing is slowed down by syncing. The machine should have nothing else to do. The
exit code is 0 also where a target is missed.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; return the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = _parser()
    options = parser.parse_args(given)
    parts = options.quick or options.only or options.program or options.beside != servers.OTHERS[0]
    if options.write == HERE and parts:
        parser.error("what stands beside this program is whole: --write alone")
    signal.signal(signal.SIGTERM, terminated)
    try:
        with scratch(options.dir) as folder:
            _measure(folder, options, shown_command("bench/serve.py", given, ("--dir", "--json")))
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the trees are removed", file=sys.stderr)
        return 130
    return 0


def _measure(folder: Path, options: argparse.Namespace, command: str) -> None:
    settings = _settings(options)
    for name in settings.names:
        servers.require(name)
    facts = machine.facts(folder, servers.JETTISON)
    bench = Bench(folder, settings)
    bench.run()
    rows = [figure.row for figure in bench.figures]
    rows = unjudged(rows) if options.quick else rows
    remark = NO_RESULT if options.quick else ""
    print(text_table(rows, options.beside), "", remark, sep="\n")
    print(*(f"{name}: {value}" for name, value in facts.items()), sep="\n")
    today = dt.datetime.now(dt.UTC).date().isoformat()
    if options.json is not None:
        document = _document(bench, facts, today, command)
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if options.write is not None:
        text = markdown(rows, Block(TITLE, "serve.svg", METHOD), facts, today, command, remark)
        write_block(options.write / "RESULTS.md", "serve", text)
        _write_chart(options.write / "serve.svg", rows)


def _document(bench: Bench, facts: Mapping[str, str], date: str, command: str) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "date": date,
        "command": command,
        "machine": dict(facts),
        "figures": [figure.document() for figure in bench.figures],
    }


def _write_chart(file: Path, rows: Sequence[Row]) -> None:
    title = "Serving images: how many times as fast as docker-registry"
    subtitle = "docker-registry → Jettison, log scale"
    file.write_text(draw(title, subtitle, bars(rows)), encoding="utf-8")
    say(f"wrote {file}")


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(
        scale=QUICK if options.quick else FULL,
        runs=options.runs or (1 if options.quick else 5),
        sections=frozenset(options.only or SECTIONS),
        names=(options.program,) if options.program else (options.beside, servers.NAMES[1]),
        settle=not options.quick,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench/serve.py",
        description=__doc__,
        epilog=EPILOG.format(sections=sections_help(SECTIONS)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--runs", type=positive, metavar="N", help="turns of each server: 5 (1 with --quick)")
    add("--only", nargs="+", choices=SECTIONS, metavar="SECTION", help="leave out the others")
    add("--program", choices=servers.NAMES, help="this server alone, without ratios")
    add("--beside", choices=servers.OTHERS, default=servers.OTHERS[0], help="whom to compare with")
    add("--quick", action="store_true", help="little of everything, to see that it works")
    add(
        "--dir",
        type=Path,
        help="folder for the storage, removed afterwards, also after Ctrl-C; "
        "by default in the system's folder for temporary files",
    )
    add("--json", type=Path, metavar="FILE", help="write every run's figures there")
    add(
        "--write",
        type=Path,
        nargs="?",
        const=HERE,
        metavar="FOLDER",
        help="write the block of RESULTS.md and serve.svg, by default those beside this program",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
