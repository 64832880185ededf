"""Do both collectors delete the same, and if not, why: parsed, compared, explained.

What a difference is explained by is read from the tree itself, believing neither program.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

__all__ = [
    "CHILD",
    "REFERRER",
    "Difference",
    "Prediction",
    "blob_files",
    "compare",
    "eligible",
    "leftover_problems",
    "prediction",
    "wrongly_deleted",
]

ELIGIBLE: Final = "blob eligible for deletion: "
CHILD: Final = "of children of a tagged index, which can then not be pulled"
REFERRER: Final = "of an untagged referrer (a signature, say) of an image that stays"


class Prediction(NamedTuple):
    """What Jettison's plan says will be deleted: the blobs' digests, and the sum of their bytes."""

    blobs: frozenset[str]
    bytes: int


class Difference(NamedTuple):
    """Blobs that only one program deletes; ``reason`` None: nobody knows why."""

    program: str
    blobs: frozenset[str]
    reason: str | None


def eligible(output: Iterable[str]) -> frozenset[str]:
    """Read the output of ``docker-registry garbage-collect -d``."""
    return frozenset(line[len(ELIGIBLE) :].strip() for line in output if line.startswith(ELIGIBLE))


def prediction(document: bytes) -> Prediction:
    """Read the output of ``jettison gc -n -o json``."""
    plan = json.loads(document)["plan"]
    return Prediction(frozenset(blob["digest"] for blob in plan["blobs"]), plan["bytes"])


def compare(
    theirs: frozenset[str], ours: frozenset[str], excuses: Mapping[str, str]
) -> list[Difference]:
    """Sort what only one program deletes by reason; ``excuses`` has docker-registry's by digest."""
    sorted_out: dict[str | None, set[str]] = {}
    for digest in theirs - ours:
        sorted_out.setdefault(excuses.get(digest), set()).add(digest)
    found = [
        Difference("Distribution", frozenset(blobs), reason)
        for reason, blobs in sorted(sorted_out.items(), key=lambda one: one[0] or "")
    ]
    if ours - theirs:
        found.append(Difference("Jettison", ours - theirs, None))
    return found


def leftover_problems(
    before: Mapping[str, int], after: Mapping[str, int], deleted: frozenset[str], expected: int
) -> list[str]:
    """Tell what a real collection did otherwise than its dry run said.

    ``before`` and ``after``: the sizes of all blob files by digest. ``expected``: bytes freed.
    """
    gone = before.keys() - after.keys()
    problems = []
    if gone != deleted:
        more, less = len(gone - deleted), len(deleted - gone)
        problems.append(f"{more} blobs deleted that the dry run did not name, {less} not deleted")
    if freed := sum(before.values()) - sum(after.values()) - expected:
        problems.append(f"{freed:+,} bytes freed beside the {expected:,} predicted")
    return problems


# What is on the disk.


def blob_files(root: Path) -> dict[str, int]:
    """Return the sizes of all blob files by digest."""
    found = {}
    with os.scandir(_base(root) / "blobs" / "sha256") as prefixes:
        for prefix in prefixes:
            with os.scandir(prefix) as folders:
                for folder in folders:
                    try:
                        size = os.stat(f"{folder.path}/data").st_size  # noqa: PTH116 - 400,000 of them
                    except FileNotFoundError:
                        continue
                    found[f"sha256:{folder.name}"] = size
    return found


def wrongly_deleted(root: Path) -> dict[str, str]:
    """Return what Distribution's ``-m`` deletes though a tagged image needs it: reason by digest.

    It keeps only manifests that have a tag themselves. A referrer is untagged by nature.
    """
    found: dict[str, str] = {}
    for manifests in sorted((_base(root) / "repositories").rglob("_manifests")):
        tagged = {link.read_text() for link in manifests.glob("tags/*/current/link")}
        revisions = {link.read_text() for link in manifests.glob("revisions/*/*/link")}
        documents = {digest: _document(root, digest) for digest in tagged | revisions}
        needed = _below(tagged, documents)
        for digest in needed - tagged:
            found |= dict.fromkeys([digest, *_parts(documents[digest])], CHILD)
        while referrers := _referrers(documents, needed):
            for digest in _below(referrers, documents) - needed:
                for part in (digest, *_parts(documents[digest])):
                    found.setdefault(part, REFERRER)
            needed |= _below(referrers, documents)
    return found


def _below(digests: Iterable[str], documents: Mapping[str, Any]) -> set[str]:
    """Return the manifests, and those that they are indexes of, to any depth."""
    found = [digest for digest in digests if digest in documents]
    for digest in found:  # which grows meanwhile
        members = [one["digest"] for one in documents[digest].get("manifests", ())]
        found += [one for one in members if one in documents and one not in found]
    return set(found)


def _referrers(documents: Mapping[str, Any], needed: set[str]) -> set[str]:
    return {
        digest
        for digest, document in documents.items()
        if digest not in needed and document.get("subject", {}).get("digest") in needed
    }


def _parts(document: Any) -> list[str]:  # noqa: ANN401 - any manifest
    """Return the config and the layers."""
    descriptors = [document["config"]] if "config" in document else []
    return [one["digest"] for one in [*descriptors, *document.get("layers", ())]]


def _document(root: Path, digest: str) -> Any:  # noqa: ANN401 - any manifest
    algorithm, _, encoded = digest.partition(":")
    path = _base(root) / "blobs" / algorithm / encoded[:2] / encoded / "data"
    return json.loads(path.read_bytes()) if path.exists() else {}


def _base(root: Path) -> Path:
    return root / "docker" / "registry" / "v2"
