"""The public conformance suite of OCI's distribution specification, every test switched on."""

import os
import subprocess
from pathlib import Path
from typing import Any, Final, NamedTuple
from xml.etree import ElementTree as ET

import pytest
from ruamel.yaml import YAML

from tests.support.missing import lack, need
from tests.support.registry import SERVERS, RegistryFactory

MODULE: Final = "github.com/opencontainers/distribution-spec/conformance"
VERSION: Final = "v0.0.0-20260831232431-97274622c111"

# fmt: off
APIS: Final = (
    "PING", "PULL", "PUSH", "BLOBS_ATOMIC", "BLOBS_DELETE", "BLOBS_DIGEST_HEADER",
    "BLOBS_MOUNT_ANONYMOUS", "BLOBS_UPLOAD_CANCEL", "MANIFESTS_ATOMIC", "MANIFESTS_DELETE",
    "MANIFESTS_DIGEST_HEADER", "MANIFESTS_TAG_PARAM", "TAGS_ATOMIC", "TAGS_DELETE", "TAGS_LIST",
    "REFERRER",
)
DATA: Final = (
    "IMAGE", "INDEX", "INDEX_LIST", "SPARSE", "ARTIFACT", "SUBJECT", "SUBJECT_MISSING",
    "ARTIFACT_LIST", "SUBJECT_LIST", "DATA_FIELD", "NONDISTRIBUTABLE", "CUSTOM_FIELDS",
    "NO_LAYERS", "EMPTY_BLOB", "SHA512",
)
# fmt: on

# What a registry refuses unless it is told otherwise, and two of the suite's options are about.
ALLOWED: Final = {
    "validation": {"manifests": {"urls": {"allow": ["^https?://"]}}},
    "jettison": {"sparse_manifests": True},
}


class Report(NamedTuple):
    """What the suite wrote: the checks that did not pass, each ability and its outcome."""

    checks: int
    failed: list[str]
    skipped: list[str]
    abilities: dict[str, str]
    settings: dict[str, Any]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite's program, built with the user's own cache of modules."""
    need("go")
    folder = tmp_path_factory.mktemp("go")
    done = subprocess.run(
        ["go", "install", f"{MODULE}@{VERSION}"],
        env=os.environ | {"GOBIN": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lack(f"the conformance suite was not built: {done.stderr}")
    return folder / "conformance"


def run(suite: Path, host: str, folder: Path) -> Report:
    switched_on = [f"OCI_API_{name}" for name in APIS] + [f"OCI_DATA_{name}" for name in DATA]
    settings = {
        "OCI_REGISTRY": host,
        "OCI_TLS": "disabled",
        "OCI_VERSION": "dev",
        "OCI_LOG": "error",
        "OCI_RESULTS_DIR": str(folder),
        **dict.fromkeys(switched_on, "true"),
    }
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OCI_")}
    done = subprocess.run(
        [suite],
        cwd=folder.parent,
        env=clean | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    report = read(folder)
    assert (done.returncode == 0) == (not report.failed), done.stdout + done.stderr
    return report


def read(folder: Path) -> Report:
    root = ET.parse(folder / "junit.xml").getroot()  # noqa: S314 - written by what we started
    cases = list(root.iter("testcase"))
    other = [case for case in cases if case.attrib["status"] != "passed"]
    failed = [
        f"{case.attrib['name']}: {case.findtext('system-out', '')[:500]}"
        for case in other
        if case.attrib["status"] == "failure"
    ]
    skipped = [case.attrib["name"] for case in other if case.attrib["status"] != "failure"]
    # Its own totals count what is below a check as well.
    tests, failures, errors, skips = (
        sum(int(one.get(name, "0")) for one in root.iter("testsuite"))
        for name in ("tests", "failures", "errors", "skipped")
    )
    assert (failures + errors > 0, skips > 0) == (bool(failed), bool(skipped))
    document = YAML(typ="safe").load(folder / "results.yaml")
    abilities = document["apis"] | document["data"]
    return Report(tests, failed, skipped, abilities, document["config"])


def switches(settings: Any) -> list[bool]:
    """Every switch of the configuration, to any depth."""
    if isinstance(settings, dict):
        return [one for value in settings.values() for one in switches(value)]
    return [settings] if isinstance(settings, bool) else []


@pytest.mark.parametrize("program", SERVERS)
def test_conformance(
    suite: Path, tmp_path: Path, registry_factory: RegistryFactory, program: str
) -> None:
    registry = registry_factory(delete=True, extra=ALLOWED)
    report = run(suite, registry.host, tmp_path / "results")
    on = [*switches(report.settings["apis"]), *switches(report.settings["data"])]
    assert on == [True] * (len(APIS) + len(DATA))
    assert report.checks > 1000
    bad = {name: outcome for name, outcome in report.abilities.items() if outcome != "Pass"}
    if program == "docker-registry":
        # It cannot do all of it: what we look at can tell.
        assert len(report.failed) > 90
        assert len(report.skipped) > 10
        assert bad["Referrers"] == "FAIL"
        assert bad["Tag delete"] == "Skip"
        return
    assert (report.failed, report.skipped, bad) == ([], [], {})
