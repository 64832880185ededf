"""The tree with a history is what it says, and reading it is measured."""

import json
import subprocess
import sys
import time
from pathlib import Path

from bench import reading
from bench.histories import YEAR, History, make_history
from jettison.model.names import Tag
from jettison.storage.evidence import read_evidence
from jettison.storage.filesystem.tree import StorageTree
from jettison.storage.snapshots import read_snapshot

HISTORY = History(3, 60)


def test_a_tree_with_a_history_is_whole_and_a_year_long(tmp_path: Path) -> None:
    now = time.time()
    make_history(tmp_path, HISTORY, now)
    storage = StorageTree(tmp_path)
    names = storage.repositories()
    assert len(names) == HISTORY.repositories
    for name in names:
        found = read_snapshot(storage, name)
        assert len(found.tags) == HISTORY.tags
        assert not found.unreadable
        assert not found.problems
        listed = {child.digest for one in found.manifests.values() for child in one.children}
        assert listed < found.manifests.keys()
        for manifest in found.manifests.values():
            sizes = {blob.digest: blob.size for blob in manifest.blobs}
            blobs = [storage.blob(digest.binary) for digest in sizes]
            assert [blob and blob.size for blob in blobs] == [*sizes.values()]
        evidence = read_evidence(storage, name)
        assert not evidence.copied
        times = sorted(one.pushed.seconds for one in evidence.tags.values() if one.pushed)
        assert times[-1] - times[0] > YEAR * 0.9
        untagged = found.manifests.keys() - set(found.tags.values()) - listed
        assert len(untagged) == HISTORY.pushes - HISTORY.tags + 1
        # The tag `latest` went on with the push of five later.
        for digest in untagged:
            since, pushed = evidence.manifests[digest].untagged, evidence.manifests[digest].pushed
            assert since is not None
            assert pushed is not None
            assert since.seconds > pushed.seconds
        assert Tag("latest") in found.tags


def test_reading_is_measured() -> None:
    command = [sys.executable, reading.__file__, "--repositories", "2", "--tags", "20"]
    done = subprocess.run([*command, "--runs", "2"], check=True, capture_output=True, text=True)
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(runs) == 2
    for run in runs:
        assert run["tags"] == 40
        assert run["manifests"] > 40
        assert run["MB"] > 0
        assert run["seconds"] > 0
