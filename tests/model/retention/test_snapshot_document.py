"""Snapshots that are damaged, cut off, from elsewhere, or from a newer version."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from jettison.errors import InvalidDocument
from jettison.model.retention.snapshot_document import (
    begin_document,
    end_document,
    read_document,
    repository_line,
)
from tests.model.retention.building import NOW, Repository


def written() -> bytes:
    repository = Repository()
    repository.add("one", "1.0", pushed=3)
    lines = [
        begin_document("localhost:5000", "", NOW),
        repository_line(repository.snapshot, repository.evidence, first=True),
        end_document([]),
    ]
    return "\n".join(lines).encode()


def read(raw: bytes) -> None:
    for _ in read_document(raw, "snapshot.json").repositories():
        pass


def test_an_empty_registry_has_a_snapshot() -> None:
    raw = "\n".join([begin_document("localhost:5000", "", NOW), end_document([])]).encode()
    found = read_document(raw, "snapshot.json")
    assert len(found) == 0
    assert list(found.repositories()) == []
    assert json.loads(raw)["taken"] == "2027-01-15T08:00:00Z"


def test_one_that_was_formatted_anew_is_read() -> None:
    read(json.dumps(json.loads(written()), indent=1, sort_keys=True).encode())


def test_any_part_that_is_cut_off_is_an_error() -> None:
    raw = written()
    for end in range(0, len(raw), 7):
        with pytest.raises(InvalidDocument, match="cut off"):
            read(raw[:end])


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"schema_version":1}', b"rules: []"])
def test_what_is_no_snapshot_says_so(raw: bytes) -> None:
    with pytest.raises(InvalidDocument, match="no snapshot"):
        read(raw)


def change(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def changed(document: dict[str, Any]) -> None:
        inner: Any = document
        *steps, last = [int(s) if s.isdigit() else s for s in path.split("/")]
        for step in steps:
            inner = inner[step]
        inner[last] = value

    return changed


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (change("schema_version", 2), "schema 2"),
        (change("taken", "yesterday"), "'yesterday' is no time"),
        (change("repositories/0/name", "Team"), "invalid repository name"),
        (change("repositories/0/tags", {"-": "sha256:1"}), "damaged"),
        (change("repositories/0/manifests/0/digest", "sha256:1"), "invalid digest"),
        (change("repositories/0/manifests/0/size", -1), ">= 0"),
        (change("repositories/0/evidence/watching_since", 1e30), "no calendar"),
        (change("repositories/0/evidence/tags/1.0/pushed", [1e30, "x"]), "no calendar"),
        (change("repositories/0/manifests/0/kind", "poem"), "damaged"),
        (change("problems", 3), "damaged"),
    ],
)
def test_damage_is_told(damage: Callable[[dict[str, Any]], None], told: str) -> None:
    document = json.loads(written())
    damage(document)
    with pytest.raises(InvalidDocument) as raised:
        read(msgspec.json.encode(document))
    assert told in raised.value.message


def test_repository_that_is_in_it_twice_is_an_error() -> None:
    document = json.loads(written())
    document["repositories"] *= 2
    with pytest.raises(InvalidDocument, match="twice"):
        read(json.dumps(document).encode())


def test_time_without_end_is_an_error() -> None:
    raw = written().replace(b'"pushed":[1799740800.0', b'"pushed":[1e999')
    assert raw != written()
    with pytest.raises(InvalidDocument):
        read(raw)
