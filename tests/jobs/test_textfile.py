"""Figures for Prometheus, in a folder that belongs to somebody else."""

import os
import threading
from pathlib import Path

from jettison.jobs.textfile import write_textfile


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
