"""examples/ as far as no cluster and no daemon of containers is needed: each is run or read."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from jettison.demo.images import image, layer, random_bytes
from tests.support.buckets import ACCESS_KEY, SECRET_KEY, Gateway
from tests.support.cli import Jettison
from tests.support.registry import DockerRegistry, RegistryFactory, free_port

EXAMPLES = Path(__file__).parents[2] / "examples"
IMAGE = "${JETTISON_IMAGE:-ghcr.io/OWNER/jettison:0.1.0}"
COMPOSED = sorted(EXAMPLES.glob("*/compose.yml"))
SERVICE_KEYS = {
    "image", "command", "entrypoint", "profiles", "user", "restart", "ports", "environment",
    "volumes", "stop_grace_period", "read_only", "tmpfs", "cap_drop", "security_opt",
}  # fmt: skip


def load(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text("utf-8"))


def services(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = load(path)["services"]
    return found


@pytest.mark.parametrize("path", COMPOSED, ids=lambda path: path.parent.name)
def test_compose(path: Path) -> None:
    """Keys are those of the specification of Compose; what is mounted from here is here."""
    document = load(path)
    assert document.keys() <= {"services", "volumes"}
    for name, service in document["services"].items():
        assert service.keys() <= SERVICE_KEYS, name
        for volume in service.get("volumes", []):
            source, target = volume.removesuffix(":ro").rsplit(":", 1)
            assert target.startswith("/")
            if source.startswith("./") and Path(source).suffix:
                assert (path.parent / source).is_file(), source
            elif not source.startswith(("./", "$")):
                assert source in document["volumes"]


@pytest.mark.parametrize("path", COMPOSED, ids=lambda path: path.parent.name)
def test_commands_of_containers(path: Path, jettison: Jettison) -> None:
    """Each is one that this version of Jettison knows, with options that it knows."""
    for service in services(path).values():
        if "jettison" not in service["image"].lower():
            continue
        assert service["image"] == IMAGE
        words = service.get("entrypoint", ["jettison"]) + service.get("command", [])
        assert words[0] == "jettison"
        help_ = jettison(words[1], "--help").stdout
        for option in (word.partition("=")[0] for word in words if word.startswith("--")):
            assert option in help_


@pytest.mark.parametrize("name", ["beside-distribution", "proxies"])
def test_a_volume_is_served_and_collected(
    name: str, registry_factory: RegistryFactory, jettison: Jettison, tmp_path: Path
) -> None:
    """The configuration, the server of this folder and the command of its collection."""
    registry = registry_factory(delete=True)
    config = placed(EXAMPLES / name / "config.yml", tmp_path, registry)
    kept, gone = (image([layer({"a": random_bytes(seed, 500)})]) for seed in (1, 2))
    registry.push("app", "latest", gone)
    registry.push("app", "latest", kept)
    command = services(EXAMPLES / "beside-distribution" / "compose.yml")["collect"]["entrypoint"]
    registry.age(8 * 86400)
    jettison("gc", config, *command[3:], "--yes")
    assert registry.manifest("app", str(kept.digest)).status == 200
    assert registry.manifest("app", str(gone.digest)).status == 404


def test_a_bucket_is_collected(tmp_path: Path) -> None:
    """Server and collection with the variables of the file, on versitygw as in the file."""
    folder = EXAMPLES / "bucket"
    composed = services(folder / "compose.yml")
    port = free_port()
    with Gateway(tmp_path / "store") as gateway:
        gateway.bucket("images")
        text = (folder / "config.yml").read_text("utf-8")
        text = text.replace("http://store:7070", gateway.endpoint)
        config = tmp_path / "config.yml"
        config.write_text(text.replace("addr: :5000", f"addr: 127.0.0.1:{port}"), "utf-8")
        put = {"${STORE_KEY}": ACCESS_KEY, "${STORE_SECRET}": SECRET_KEY}
        variables = composed["collect"]["environment"]
        there = {"registry:5000": f"127.0.0.1:{port}", **put}
        env = {**os.environ, **{key: there[value] for key, value in variables.items()}}
        arguments = composed["collect"]["entrypoint"][3:]
        done = subprocess.run(
            [sys.executable, "-m", "jettison", "gc", config, *arguments, "--dry-run"],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "s3://images" in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["github.yml", "gitlab.yml"])
def test_pruning_after_a_merge(
    name: str, registry_factory: RegistryFactory, jettison: Jettison, tmp_path: Path
) -> None:
    """The lines of the job, run by a shell against a registry with a login."""
    registry = registry_factory(delete=True, htpasswd=("ann", "secret"))
    for number in range(3):
        registry.push("team/app", f"pr-{number}", image([layer({"a": bytes([number])})]))
    policy = (EXAMPLES / "ci" / "retention.yml").read_text("utf-8")
    jettison("policy", "test", EXAMPLES / "ci" / "retention.yml")
    # So that something goes of what was just pushed.
    policy = policy.replace('["pr-*"]', '["pr-[01]"]').replace("  keep: {last: 5}\n", "")
    policy = "max_removal: 100%\n" + policy.replace("{older_than: 14d}", "all")
    (tmp_path / "retention.yml").write_text(policy, "utf-8")
    document = load(EXAMPLES / "ci" / name)
    if "jobs" in document:
        steps = [one["run"] for one in document["jobs"]["prune"]["steps"] if "run" in one]
    else:
        steps = document["prune"]["before_script"] + document["prune"]["script"]
    assert re.fullmatch("(pipx|pip) install (--quiet )?jettison", steps[0])
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "jettison"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m jettison "$@"\n')
    program.chmod(0o755)
    env = {
        **os.environ,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "REGISTRY": registry.host,
        "REGISTRY_USER": "ann",
        "REGISTRY_PASSWORD": "secret",
    }
    for _ in range(2):  # the second time there is nothing to do
        script = "\n".join(["set -eu", *steps[1:]])
        done = subprocess.run(
            ["sh", "-c", script],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(registry.tags("team/app")) == 1, done.stdout + done.stderr


def test_ansible_reads() -> None:
    (play,) = load(EXAMPLES / "ansible" / "registry.yml")
    modules = {key for task in play["tasks"] for key in task if key.startswith("ansible.builtin.")}
    assert len(modules) == 6
    (configuration,) = (
        task["ansible.builtin.copy"]["content"]
        for task in play["tasks"]
        if task.get("ansible.builtin.copy", {}).get("dest") == "/etc/jettison.yml"
    )
    assert YAML(typ="safe").load(configuration.replace("{{ registry_data }}", "/srv"))


def test_nothing_of_ours_is_named() -> None:
    for path in EXAMPLES.rglob("*"):
        if path.is_file():
            text = path.read_text("utf-8")
            for found in re.findall(r"\S+/jettison:[\w.]+", text):
                assert found.endswith("ghcr.io/OWNER/jettison:0.1.0"), path


def placed(path: Path, folder: Path, registry: DockerRegistry) -> Path:
    """A configuration of examples/ for the storage and the address of a running registry."""
    text = path.read_text("utf-8").replace("/var/lib/registry", str(registry.root))
    made = folder / "placed.yml"
    made.write_text(text.replace("addr: :5000", f"addr: {registry.host}"), "utf-8")
    return made
