"""Policies of other systems in the cases: what the original removes, and what is imported of it."""

import argparse
import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from jettison.configuration.document import load_yaml
from jettison.configuration.policy_import import import_policy
from jettison.errors import InvalidPolicy
from jettison.model.retention.evidence import NO_TIMES
from jettison.model.retention.importing.draft import Imported
from jettison.model.retention.period import Period
from tests.model.retention.building import Repository
from tests.model.retention.cases import Case, CaseOriginal
from tests.model.retention.originals import MODELS, Item, Purge, World

__all__ = ["imported", "imported_text", "removed_by_original"]

Names = set[tuple[str, str]]


def imported(original: CaseOriginal) -> Imported:
    """Import the original; raises InvalidPolicy if it is refused."""
    raw = original.text.encode()
    return import_policy(raw, "original", original.system, original.attached_to)


def imported_text(case: Case) -> str:
    """Return what an import of the original removes, and asks, as a person reads it."""
    if case.original is None:
        return ""
    lines = [f"imported from {case.original.system}:"]
    try:
        found = imported(case.original)
    except InvalidPolicy as error:
        return "\n".join([*lines, f"  refused: {error.message}"]) + "\n"
    removed = case.removed(found.policy)
    lines += [f"  {name}: {', '.join(names)} go" for name, names in removed.items()]
    lines += [] if removed else ["  nothing goes"]
    lines += [f"  ? {question}" for question in found.policy.questions]
    return "\n".join(lines) + "\n"


def removed_by_original(case: Case) -> Iterator[Names]:
    """Yield what models of the other system remove: each in which versions of it may differ."""
    assert case.original is not None
    for counts_all in (False, True):
        world = World(dict(_items(case)), case.now, counts_all)
        for model in MODELS[case.original.system]:
            found: Names = set()
            for document in _documents(case.original):
                found |= model(document, world)
            yield found


def _items(case: Case) -> Iterator[tuple[str, tuple[Item, ...]]]:
    for repository in case.repositories:
        yield str(repository.name), tuple(_items_of(case, repository))


def _items_of(case: Case, repository: Repository) -> Iterator[Item]:
    for digest, manifest in repository.manifests.items():
        times = repository.times[digest]
        tags = {}
        for tag, of in repository.tags.items():
            if of == digest:
                pushed = repository.tag_times.get(tag, NO_TIMES).pushed
                assert pushed is not None, "the other system knows when it was pushed"
                tags[str(tag)] = pushed.seconds
        assert times.pushed is not None, "the other system knows when it was pushed"
        subject = manifest.subject
        yield Item(
            case.name_of(digest),
            tags,
            times.pushed.seconds,
            (times.created or times.pushed).seconds,
            (times.untagged or times.pushed).seconds,
            None if times.pulled is None else times.pulled.seconds,
            tuple(case.name_of(child.digest) for child in manifest.children),
            None if subject is None else case.name_of(subject),
        )


def _documents(original: CaseOriginal) -> Iterator[Any]:
    if original.system == "acr":
        yield from _purges(original.text)
        return
    document = load_yaml(original.text, "original")
    if original.system == "harbor":
        for rule in document["rules"]:
            for selector in rule["tag_selectors"]:
                selector.update(json.loads(selector.get("extras", "{}")))
    if original.system == "gitlab":
        document = document.get("container_expiration_policy", document)
    yield _defaults(document) if original.system == "zot" else document


def _defaults(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a configuration of zot with the section that it has if nothing is written."""
    return {"storage": {"retention": {}, **document["storage"]}}


def _purges(text: str) -> Iterator[Purge]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--filter", action="append")
    parser.add_argument("--ago")
    parser.add_argument("--keep", type=int, default=0)
    parser.add_argument("--untagged", action="store_true")
    for line in text.replace("\\\n", " ").splitlines():
        if not line.startswith("acr purge "):
            continue
        found = parser.parse_args(shlex.split(line.removeprefix("acr purge ")))
        filters = tuple((name, tags) for name, _, tags in (f.partition(":") for f in found.filter))
        yield Purge(filters, -Period(found.ago).before(0.0), found.keep, found.untagged)
