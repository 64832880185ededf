"""`jettison gc` of a bucket beside `garbage-collect` of both Distributions, on one versitygw.

Each answer of the store is brought 10 ms late. Requests are counted by the store's own access log.
`dry`: the same bucket, none changed; Jettison cold, with nothing in its cache, and warm, once more.
`untagged`: the same, and manifests without a tag are to go too, for which theirs ask for all tags
of a repository again and again.
`collect`: each collects a copy of its own, and what blobs are left is compared. `large`: Jettison
alone, on a larger bucket. An image has a manifest, a config and eight layers, six of them shared;
every eleventh was deleted, every tenth of the others has no tag. `serving` and `simulated`: see
their own tables.
"""

import argparse
import datetime as dt
import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

# The folder above, for `bench.…`, wherever this is started from.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import bucket_planning, bucket_serving, machine, servers
from bench.buckets import Gateway, add_etags
from bench.options import positive, say, scratch, shown_command, terminated
from bench.programs import BenchError, clean_environment
from bench.report import digits, write_block
from bench.trees import Shape, make_tree

HERE: Final = Path(__file__).resolve().parent
SECTIONS: Final = ("dry", "untagged", "collect", "large", "serving", "simulated")
_OURS_ALONE: Final = {"large", "simulated"}
IMAGES: Final = 100
"""In each repository."""
OTHERS: Final = {"docker-registry": "docker-registry", "Distribution 3": "registry"}


class Measured(NamedTuple):
    """What one command took: seconds, and requests by operation."""

    section: str
    program: str
    manifests: int
    seconds: float
    requests: Counter[str]
    blobs_left: int | None = None

    @property
    def each(self) -> float:
        """Requests a manifest."""
        return self.requests.total() / self.manifests


class Collections:
    """Measures in buckets of a gateway below ``folder``."""

    def __init__(
        self,
        folder: Path,
        manifests: int,
        large: int,
        simulated: int,
        milliseconds: float,
        scale: bucket_serving.Scale,
    ) -> None:
        self._folder = folder
        self._counts = {"small": manifests, "large": large, "simulated": simulated}
        self._environment = clean_environment(folder) | {"OTEL_TRACES_EXPORTER": "none"}
        self._milliseconds = milliseconds
        self._scale = scale
        self.found: list[Measured] = []
        self.served: list[bucket_serving.Figure] = []
        self.planned: list[bucket_planning.Planned] = []

    def run(self, sections: Sequence[str]) -> None:
        """Measure these sections."""
        if "simulated" in sections:
            manifests = self._counts["simulated"]
            self.planned = bucket_planning.measure(self._folder, manifests, self._environment)
        if set(sections) == {"simulated"}:
            return
        with Gateway(self._folder, self._milliseconds, self._environment) as gateway:
            if {"dry", "untagged", "collect"} & set(sections):
                self._make(gateway, "small")
            if "dry" in sections:
                self._dry(gateway, "dry")
            if "untagged" in sections:
                self._dry(gateway, "untagged", ["--untagged"], ["-m"])
            if "collect" in sections:
                self._collect(gateway)
            if "large" in sections:
                self._make(gateway, "large")
                self._ours(gateway, "large", "large")
            if "serving" in sections:
                self._serve(gateway)

    def _serve(self, gateway: Gateway) -> None:
        serving = bucket_serving.BucketServing(
            self._folder, gateway, self._environment, self._scale
        )
        self.served = serving.found
        serving.run()

    def _make(self, gateway: Gateway, bucket: str) -> None:
        count = self._counts[bucket]
        say(f"making a bucket of {count:,} manifests")
        make_tree(gateway.folder / bucket, Shape(max(1, count // IMAGES), min(count, IMAGES)))
        say(f"{add_etags(gateway.folder / bucket):,} objects")

    def _dry(
        self, gateway: Gateway, section: str, ours: Sequence[str] = (), theirs: Sequence[str] = ()
    ) -> None:
        self._ours(gateway, section, "small", *ours)
        config = gateway.config("small")
        for name, program in OTHERS.items():
            command = [program, "garbage-collect", "-d", *theirs, str(config)]
            self._measure(gateway, section, name, "small", command)

    def _ours(self, gateway: Gateway, section: str, bucket: str, *more: str) -> None:
        command = [servers.JETTISON, "gc", str(gateway.config(bucket)), "-n", "--grace", "0s"]
        command += more
        for name in ("Jettison, cold", "Jettison, warm"):
            self._measure(gateway, section, name, bucket, command)

    def _collect(self, gateway: Gateway) -> None:
        commands = {"Jettison": [servers.JETTISON, "gc", "CONFIG", "--yes", "--grace", "0s"]}
        commands["Jettison"] += ["--assume-quiescent"]
        for name, program in OTHERS.items():
            commands[name] = [program, "garbage-collect", "CONFIG"]
        kept: dict[str, set[str]] = {}
        for number, (name, words) in enumerate(commands.items()):
            bucket = f"copy{number}"
            shutil.copytree(gateway.folder / "small", gateway.folder / bucket)
            config = str(gateway.config(bucket))
            command = [config if word == "CONFIG" else word for word in words]
            self._measure(gateway, "collect", name, bucket, command)
            blobs = gateway.folder / bucket / "docker/registry/v2/blobs"
            kept[name] = {path.parent.name for path in blobs.glob("*/*/*/data")}
            self.found[-1] = self.found[-1]._replace(blobs_left=len(kept[name]))
        if any(found != kept["Jettison"] for found in kept.values()):
            counts = {name: len(found) for name, found in kept.items()}
            raise BenchError(f"they leave different blobs: {counts}")

    def _measure(
        self, gateway: Gateway, section: str, name: str, bucket: str, command: Sequence[str]
    ) -> None:
        say(f"{section}: {name}")
        before = gateway.requests(bucket)
        began = time.perf_counter()
        done = subprocess.run(
            command,
            # Each section begins with nothing in the cache.
            env=self._environment | {"XDG_CACHE_HOME": str(self._folder / f"cache-{section}")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        took = time.perf_counter() - began
        if done.returncode:
            raise BenchError(f"exit {done.returncode}: {' '.join(command)}\n{done.stderr[-500:]}")
        manifests = self._counts["large" if bucket == "large" else "small"]
        requests = gateway.requests(bucket) - before
        self.found.append(Measured(section, name, manifests, took, requests))


def lines(found: Sequence[Measured]) -> list[str]:
    """Return the lines of a Markdown table; ratios are to the first of the section."""
    table = [
        "| section | program | manifests | time | of ours | requests | a manifest | kinds |",
        "|---|---|--:|--:|--:|--:|--:|---|",
    ]
    for one in found:
        first = next(other for other in found if other.section == one.section)
        slower = "" if one is first else f"{digits(one.seconds / first.seconds)}×"
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in one.requests.most_common())
        figures = (f"{one.manifests:,}", f"{digits(one.seconds)} s", slower)
        counts = (f"{one.requests.total():,}", f"{one.each:.3g}", kinds)
        table.append(f"| {' | '.join((one.section, one.program, *figures, *counts))} |")
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; return the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(given)
    signal.signal(signal.SIGTERM, terminated)
    manifests = options.manifests or (100 if options.quick else 500)
    large = options.large or (200 if options.quick else 20_000)
    simulated = options.simulated or (200 if options.quick else 1_000_000)
    sections = options.only or SECTIONS
    try:
        for program in () if set(sections) <= _OURS_ALONE else OTHERS:
            servers.require(program)
        with scratch(options.dir) as folder:
            scale = bucket_serving.QUICK if options.quick else bucket_serving.FULL
            counts = (manifests, large, simulated)
            collections = Collections(folder, *counts, options.delay, scale)
            collections.run(sections)
            facts = machine.facts(folder, servers.JETTISON)
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    table = lines(collections.found) if collections.found else []
    served = bucket_serving.lines(collections.served) if collections.served else []
    planned = bucket_planning.lines(collections.planned) if collections.planned else []
    print(*table, *served, *planned, sep="\n")
    if options.json is not None:
        document = [one._asdict() for one in collections.found]
        document += map(bucket_serving.document, collections.served)
        document += [{"section": "simulated"} | one._asdict() for one in collections.planned]
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if options.write:
        if table:
            _write("objects", "## Buckets", __doc__, table, given, facts)
        if served:
            title = "### Servers on buckets"
            _write("objects-serving", title, bucket_serving.__doc__, served, given, facts)
        if planned:
            title = "### A large bucket, simulated"
            _write("objects-simulated", title, bucket_planning.__doc__, planned, given, facts)
    return 0


def _write(
    name: str,
    title: str,
    about: str | None,
    table: Sequence[str],
    given: Sequence[str],
    facts: Mapping[str, str],
) -> None:
    command = shown_command("bench/objects.py", given, ("--dir", "--json"))
    today = dt.datetime.now(dt.UTC).date().isoformat()
    machines = [f"- {fact}: {value}" for fact, value in facts.items()]
    told = " ".join((about or "").split())
    text = "\n".join([title, "", told, "", *table, "", f"{today}, `{command}`", *machines])
    write_block(HERE / "RESULTS.md", name, text + "\n")
    say("wrote RESULTS.md")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench/objects.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="next to nothing: no result")
    add("--manifests", type=positive, default=None, help="of the bucket that all collect")
    add("--large", type=positive, default=None, help="of the bucket that Jettison reads alone")
    add("--simulated", type=positive, default=None, help="of the bucket that is made up")
    add("--delay", type=float, default=10.0, metavar="MS", help="of each answer (default 10)")
    add("--only", nargs="+", choices=SECTIONS, metavar="SECTION", help=", ".join(SECTIONS))
    add("--dir", type=Path, default=None, help="where buckets and logs lie")
    add("--json", type=Path, default=None, help="write the figures there too")
    add("--write", action="store_true", help="write them into RESULTS.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
