"""Figures for Prometheus, in a folder that belongs to somebody else."""

import os
import re
import threading
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from jettison.jobs.textfile import write_textfile
from tests.support.cli import Jettison
from tests.support.trees import Tree

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_nothing_is_written_through_a_link_that_waits_for_a_draft(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("root's")
    path = tmp_path / "jettison.prom"
    path.symlink_to(victim)
    for name in ("tmp", f"{os.getpid()}.{threading.get_ident()}", f"{os.getpid()}"):
        path.with_name(f"{path.name}.{name}").symlink_to(victim)
    write_textfile(path, "/srv/registry", 0.0, 0, None, None)
    assert victim.read_text() == "root's"
    assert not path.is_symlink()
    assert 'jettison_gc_success{storage="/srv/registry"} 1.0' in path.read_text()


def test_a_storage_whose_name_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "jettison.prom"
    write_textfile(path, os.fsdecode(b"/srv/\xff"), 0.0, 0, None, None)
    assert "jettison_gc_success{" in path.read_text()


def test_the_page_of_metrics_has_each(tmp_path: Path, jettison: Jettison) -> None:
    tree, path = Tree(tmp_path / "registry"), tmp_path / "jettison.prom"
    tree.image("app", "1", [b"one"])
    tree.blob(b"left by a deleted image")
    jettison.later()("gc", tree.root, "--yes", "--assume-quiescent", "--textfile", path)
    written = {
        (family.name, frozenset(label for one in family.samples for label in one.labels))
        for family in text_string_to_metric_families(path.read_text())
    }
    text = PAGE.read_text("utf-8")
    rows = re.findall(r"^\| `(jettison_gc_\w+)` \|([^|]*)\|", text, re.MULTILINE)
    told = {(name, frozenset({"storage", *re.findall(r"`(\w+)`", of)})) for name, of in rows}
    assert written == told
