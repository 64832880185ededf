"""Jettison's collector beside Distribution's: time, memory, and whether they delete the same."""

import argparse
import datetime as dt
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn

# The folder above, for `bench.…`, wherever this is started from.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import machine
from bench.chart import draw
from bench.collection import FULL, QUICK, SECTIONS, Bench, Settings, say
from bench.programs import BenchError, Jettison, removed, require_programs
from bench.report import Row, bars, markdown, text_table, unjudged, write_block

HERE: Final = Path(__file__).resolve().parent
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
    if options.write == HERE and (options.quick or options.only):
        parser.error("what stands beside this program is whole: no --quick or --only with --write")
    signal.signal(signal.SIGTERM, _terminated)
    try:
        with _scratch(options.dir) as folder:
            return _measure(folder, options, _command(given))
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the trees are removed", file=sys.stderr)
        return 130


def _measure(folder: Path, options: argparse.Namespace, command: str) -> int:
    jettison = Jettison()
    require_programs(jettison)
    facts = machine.facts(folder, jettison.executable)
    bench = Bench(folder, _settings(options))
    bench.run()
    rows = unjudged(bench.rows) if options.quick else bench.rows
    remark = NO_RESULT if options.quick else ""
    print(text_table(rows), "", *bench.sentences, remark, sep="\n")
    print(*(f"{name}: {value}" for name, value in facts.items()), sep="\n")
    if bench.problems:
        print("", *(f"UNEXPLAINED: {one}" for one in bench.problems), sep="\n")
        return 1
    if options.write is not None:
        today = dt.datetime.now(dt.UTC).date().isoformat()
        block = markdown(rows, bench.sentences, facts, today, command, remark)
        write_block(options.write / "RESULTS.md", "gc", block)
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
        settle=not options.quick,
    )


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, SECTIONS))
    sections = "".join(f"  {name:<{width}}  {text}\n" for name, text in SECTIONS.items())
    parser = argparse.ArgumentParser(
        prog="bench/gc.py",
        description=__doc__,
        epilog=EPILOG.format(sections=sections),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--runs",
        type=_positive,
        metavar="N",
        help="times each is timed: 5 (1 with --quick); at most 2 on the largest tree",
    )
    add("--only", nargs="+", choices=SECTIONS, metavar="SECTION", help="leave out the others")
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


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _command(given: Sequence[str]) -> str:
    """Return the command as others can run it; where the trees were is nobody's business."""
    shown = list(given)
    for place, one in enumerate(given):
        if one == "--dir":
            shown[place + 1] = "DIR"
        elif one.startswith("--dir="):
            shown[place] = "--dir=DIR"
    return shlex.join([".venv/bin/python", "bench/gc.py", *shown])


@contextmanager
def _scratch(parent: Path | None) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="jettison-bench-", dir=parent)).resolve()
    try:
        yield folder
    finally:
        say("removing the trees")
        removed(folder)


def _terminated(*_: object) -> NoReturn:
    sys.exit(143)


if __name__ == "__main__":
    sys.exit(main())
