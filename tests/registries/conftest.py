"""Every registry that a test machine can have, and the command line run beside them."""

import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from jettison.cli.main import main
from tests.registries.scripted import SCRIPTED, ScriptedRegistry, Ways
from tests.support.cli import Result
from tests.support.registry import (
    CraneRegistry,
    Distribution3,
    DockerRegistry,
    JettisonRegistry,
    Remote,
)

REAL = {
    "docker-registry": (DockerRegistry, "Distribution 2.x"),
    "distribution-3": (Distribution3, "Distribution 3.x"),
    "crane": (CraneRegistry, "go-containerregistry"),
    "jettison": (JettisonRegistry, "Jettison/"),
}


@dataclass(frozen=True)
class Subject:
    """A running registry, and how it differs from others; `ways` only where it is scripted."""

    name: str
    remote: Remote
    product: str
    ways: Ways | None = None

    @property
    def deletes(self) -> bool:
        return self.ways is None or self.ways.no_delete is None

    @property
    def keeps_blobs(self) -> bool:
        return self.ways is None or not self.ways.blobs_go

    @property
    def serves_referrers(self) -> bool:
        return self.name == "jettison" if self.ways is None else self.ways.referrers


@pytest.fixture(scope="session", params=[*REAL, *SCRIPTED])
def subject(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Subject]:
    """Each registry in turn, with deletion enabled where that can be chosen."""
    name: str = request.param
    if name in SCRIPTED:
        ways = SCRIPTED[name]
        with ScriptedRegistry(ways) as scripted:
            yield Subject(name, scripted, ways.product, ways)
        return
    kind, product = REAL[name]
    with kind(tmp_path_factory.mktemp(name) / "registry", delete=True) as real:
        yield Subject(name, real, product)


class Run(Protocol):
    """`jettison("rm", ref, code=0)` runs the command and checks its exit code."""

    def __call__(self, *args: str | Path, code: int | None = 0, stdin: str = "") -> Result: ...


@pytest.fixture
def jettison_here(monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line in this process, which takes a tenth of the time of one of its own."""

    def run(*args: str | Path, code: int | None = 0, stdin: str = "") -> Result:
        streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["jettison", *map(str, args)])
            patch.setattr(sys, "stdin", io.StringIO(stdin))
            patch.setattr(sys, "stdout", streams[0])
            patch.setattr(sys, "stderr", streams[1])
            with pytest.raises(SystemExit) as ended:
                main()
        texts = []
        for stream in streams:
            stream.flush()
            stream.seek(0)
            texts.append(stream.read())
        result = Result(texts[0], texts[1], int(ended.value.code or 0))
        said = f"--- stdout\n{result.stdout}\n--- stderr\n{result.stderr}"
        assert code is None or result.code == code, f"exit {result.code}, not {code}\n{said}"
        assert "Traceback" not in said
        return result

    return run


@pytest.fixture(autouse=True)
def login(subject: Subject, home: Path) -> None:
    """The login of a scripted registry, where Docker keeps it."""
    if subject.remote.authorization is not None:
        pair = subject.remote.authorization.removeprefix("Basic ")
        config = {"auths": {subject.remote.host: {"auth": pair}}}
        (home / ".docker" / "config.json").write_text(json.dumps(config), encoding="utf-8")
