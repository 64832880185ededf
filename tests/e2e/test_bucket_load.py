"""Several servers of one bucket, and collections beside their clients, while all goes wrong.

The servers have nothing in common but the bucket. Servers and collections are killed; of the
DELETEs some are answered late, or not at all, or land when nobody expects them any more; a listing
has ten keys a page; ETags tell nothing; clocks are ten minutes off. What a DELETE takes is looked
at as it lands, and everything in the gateway's folder after each collection, before a next push can
heal what was broken.
"""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.support import altered
from tests.support.acknowledged import TAKEN
from tests.support.altered import LASTS
from tests.support.buckets import Bucket, Gateway, S3Jettison
from tests.support.cli import Jettison
from tests.support.clocks import clock_off
from tests.support.faulty_store import Faults, FaultyStore
from tests.support.load import POOL, PUSHED_AGAIN, Load
from tests.support.rules import RULES

AHEAD, BEHIND = 600, -600
WANTED = (
    *("pushes", "pulls in full", "manifests deleted", "blobs collected", "blobs mounted"),
    *("tags moved", "images copied", "servers killed", "collections killed"),
)


@dataclass(frozen=True)
class Relayed(Bucket):
    """A bucket behind a relay."""

    endpoint: str

    @property
    def settings(self) -> dict[str, Any]:
        return super().settings | {"regionendpoint": self.endpoint}


def command(without: str, ahead: int = 0) -> tuple[str, ...]:
    root = Path(altered.__file__).parents[2]
    variables = (f"PYTHONPATH={root}", *clock_off(ahead))
    return ("env", *variables, sys.executable, altered.__file__, without)


class Server(S3Jettison):
    """`jettison serve` of which a rule is left out, with a clock that is ahead."""

    def __init__(self, base: Path, bucket: Bucket, without: str, ahead: int = 0) -> None:
        super().__init__(base, bucket, delete=True)
        self.command = command(without, ahead)  # type: ignore[misc] # of this one alone


@contextlib.contextmanager
def loaded(
    tmp_path: Path, clients: int, without: str = "", *, meeting: bool = False
) -> Iterator[tuple[Load, FaultyStore]]:
    """Yield a load and its store.

    `meeting`: what an announcement names, and what a DELETE takes that is on its way, is pushed
    just then. Nothing is killed: who pushes that would wait for the end of a killed sweep.
    """
    faults, pool, collectors = Faults(), POOL, 2
    if meeting:  # most DELETEs come late, and take what is pushed again and again
        faults, pool = Faults(signed=0.8, latest=LASTS, slowest=1.0, page=1000), POOL[:6]
        collectors = 4
    with (
        Gateway(tmp_path / "gateway") as gateway,
        FaultyStore(gateway, faults=faults) as store,
    ):
        plain = gateway.bucket("images")
        bucket = Relayed(gateway, plain.name, store.endpoint)
        with (
            Server(tmp_path / "one", bucket, without, AHEAD) as one,
            Server(tmp_path / "two", bucket, without) as two,
        ):
            collecting = [
                Jettison(tmp_path, command(without, BEHIND if number % 2 == 0 else 0))
                for number in range(collectors)
            ]
            load = Load(
                *(one, None, "2s"),
                beside=[two],
                clients=clients,
                killing=collecting,
                pool=pool,
                calm=meeting,
            )
            store.audit = load.shared.audit
            if meeting:
                store.about = lambda keys: load.shared.want(keys, POOL)
            try:
                load.seed()
                yield load, store
            finally:
                load.close()
                print(f"\n{load.report()}\n{store.counts}")  # noqa: T201 - what `pytest -s` shows


def stress(tmp_path: Path, seconds: float, clients: int, wanted: Sequence[str] = WANTED) -> None:
    with loaded(tmp_path, clients) as (load, store):
        load.run(seconds, check_every=max(7.0, seconds / 15), wanted=wanted)
        assert store.faults is not None
        store.faults = replace(store.faults, share=0.0, signed=0.0)
        load.finish()
        assert not load.failures, load.report()
        for what in wanted:
            assert load.counts[what] > 0, load.report()


def test_two_servers_and_two_collectors(tmp_path: Path) -> None:
    stress(tmp_path, 60, clients=6)


@pytest.mark.soak
def test_two_servers_and_two_collectors_for_long(tmp_path: Path) -> None:
    stress(tmp_path, 900, clients=64)


@pytest.mark.soak
def test_what_is_about_to_go_can_be_pushed(tmp_path: Path) -> None:
    with loaded(tmp_path, 24, meeting=True) as (load, _):
        load.run(60, check_every=60, wanted=(PUSHED_AGAIN, "blobs collected", "blobs put back"))
        assert not load.failures, load.report()


@pytest.mark.soak
@pytest.mark.parametrize("without", RULES)
def test_a_rule_left_out_breaks_an_image(tmp_path: Path, without: str) -> None:
    """The same finds it within a minute, and on a machine with much else to do in six."""
    with loaded(tmp_path, 24, without, meeting=True) as (load, _):
        load.shared.ends_with = {TAKEN}
        load.run(60, check_every=60, wanted=(TAKEN,))  # it ends when that is found, or not at all
        assert TAKEN in {failure.kind for failure in load.failures}
