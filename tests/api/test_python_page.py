"""The examples of docs/python.md, each on a registry and a storage of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jettison.demo.images import image, layer
from tests.support.registry import JettisonRegistry

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
BASE = layer({"base": b"base"})


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs(number: int, tmp_path: Path) -> None:
    with JettisonRegistry(tmp_path / "registry", delete=True) as registry:
        for tag in ("1.0", "2.0", "pr-1"):
            registry.push("app", tag, image([BASE, layer({"app": tag.encode()})]))
        text = EXAMPLES[number].replace("localhost:5000", registry.host)
        script = tmp_path / "example.py"
        script.write_text(text.replace("/var/lib/registry", str(registry.root)), "utf-8")
        home = {**os.environ, "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
        done = subprocess.run(
            [sys.executable, script], capture_output=True, text=True, env=home, check=False
        )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout or "print" not in text


def test_examples_are_short() -> None:
    assert len(EXAMPLES) >= 7
    for example in EXAMPLES:
        lines = [line for line in example.splitlines() if line.strip()]
        assert len(lines) <= 11, example
