"""Jettison's collector beside Distribution's: time, memory, and whether they delete the same."""

import argparse
import datetime as dt
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

# The folder above, for `bench.…`, wherever this is started from.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import machine
from bench.chart import draw
from bench.collection import FULL, QUICK, SECTIONS, Bench, Settings
from bench.options import positive, say, scratch, sections_help, shown_command, terminated
from bench.programs import BenchError, Distribution, Jettison, require_programs
from bench.report import Block, Row, bars, markdown, text_table, unjudged, write_block
from bench.servers import OTHERS

HERE: Final = Path(__file__).resolve().parent
TITLE: Final = "`jettison gc` beside `docker-registry garbage-collect`"
AGREED: Final = "What each deletes, compared blob by blob:"
METHOD: Final = (
    "Whole commands in wall time, start-up included, on the same tree with a warm cache, the two "
    "programs in turn; medians, with the fastest and the slowest run. Each real collection has a "
    "fresh copy of the tree. A ratio of times says how many times as fast Jettison is, a ratio of "
    "memory how much of docker-registry's it needs. Memory is the peak in a dry run: of all "
    "processes together it is sampled (PSS, but programs and libraries whole); of the largest "
    "process it is the kernel's `ru_maxrss`."
)
NO_RESULT: Final = "Not a result: small trees (--quick), so mostly start-up."

EPILOG: Final = """\
sections for --only:
{sections}
Without --only all of them, on trees of 20,000 and 100,000 manifests: about an hour, on a slow disk
several, since each real collection has a copy of the tree made and removed; 10 GB and 2.5 million
inodes below --dir. On a tmpfs (--dir /dev/shm) it is quicker, and tells nothing about disks. The
machine should have nothing else to do. The exit code is 0 also where a target is missed, and 1
where the programs delete different blobs for a reason that is not known.
"""


# Below: the command line.


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; return the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = _parser()
    options = parser.parse_args(given)
    parts = options.quick or options.only or options.beside != OTHERS[0]
    if options.write == HERE and parts:
        parser.error("what stands beside this program is whole: --write alone")
    signal.signal(signal.SIGTERM, terminated)
    try:
        with scratch(options.dir) as folder:
            return _measure(folder, options, shown_command("bench/gc.py", given))
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the trees are removed", file=sys.stderr)
        return 130


def _measure(folder: Path, options: argparse.Namespace, command: str) -> int:
    jettison = Jettison()
    require_programs(jettison, Distribution(folder, options.beside))
    facts = machine.facts(folder, jettison.executable)
    bench = Bench(folder, _settings(options))
    bench.run()
    rows = unjudged(bench.rows) if options.quick else bench.rows
    remark = NO_RESULT if options.quick else ""
    print(text_table(rows, options.beside), "", *bench.sentences, remark, sep="\n")
    print(*(f"{name}: {value}" for name, value in facts.items()), sep="\n")
    if bench.problems:
        print("", *(f"UNEXPLAINED: {one}" for one in bench.problems), sep="\n")
        return 1
    if options.write is not None:
        today = dt.datetime.now(dt.UTC).date().isoformat()
        block = Block(TITLE, "gc.svg", METHOD, (AGREED, "", *(f"- {s}" for s in bench.sentences)))
        text = markdown(rows, block, facts, today, command, remark)
        write_block(options.write / "RESULTS.md", "gc", text)
        _write_chart(options.write / "gc.svg", rows)
    return 0


def _write_chart(file: Path, rows: Sequence[Row]) -> None:
    title = "Collecting garbage: how many times as fast as docker-registry"
    subtitle = "docker-registry → Jettison, wall time of whole commands, log scale"
    file.write_text(draw(title, subtitle, bars(rows)), encoding="utf-8")
    say(f"wrote {file}")


def _settings(options: argparse.Namespace) -> Settings:
    runs = options.runs or (1 if options.quick else 5)
    return Settings(
        scale=QUICK if options.quick else FULL,
        runs=runs,
        large_runs=min(runs, 2),
        sections=frozenset(options.only or SECTIONS),
        beside=options.beside,
        settle=not options.quick,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench/gc.py",
        description=__doc__,
        epilog=EPILOG.format(sections=sections_help(SECTIONS)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--runs",
        type=positive,
        metavar="N",
        help="times each is timed: 5 (1 with --quick); at most 2 on the largest tree",
    )
    add("--only", nargs="+", choices=SECTIONS, metavar="SECTION", help="leave out the others")
    add("--beside", choices=OTHERS, default=OTHERS[0], help="whom to compare with")
    add("--quick", action="store_true", help="small trees, to see that it all works: no result")
    add(
        "--dir",
        type=Path,
        help="folder for the trees, removed afterwards, also after Ctrl-C; "
        "by default in the system's folder for temporary files",
    )
    add(
        "--write",
        type=Path,
        nargs="?",
        const=HERE,
        metavar="FOLDER",
        help="write the block of RESULTS.md and gc.svg, by default those beside this program",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
