"""What the chart's pods would run, run here: configuration, variables and arguments as rendered.

Only what a cluster gives is put in by the test: folders in place of mounts, ports that are free, a
name that can be found in place of the service's.
"""

import base64
import http.client
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from jettison.demo.images import Image, image, layer, random_bytes
from tests.charts.rendering import manifests, only
from tests.charts.test_metrics import OTHERS, expressions, named
from tests.support.buckets import ACCESS_KEY, REGION, SECRET_KEY, Gateway
from tests.support.missing import need
from tests.support.registry import START_SECONDS, Remote, free_port

POLICY = {"rules": [{"name": "old", "tags": ["pr-[0-2]"], "remove": "all"}]}
JOBS = {
    "garbageCollect": {"enabled": True, "extraArgs": ["--grace", "0.5s"]},
    "prune": {"enabled": True, "policy": POLICY, "extraArgs": ["--max-removal", "100%"]},
}


def one(seed: int) -> Image:
    return image([layer({"app": random_bytes(seed, 2000)})])


class Release:
    """A release of the chart below a folder, with its service on a port of this machine."""

    def __init__(self, base: Path, values: Mapping[str, Any]) -> None:
        self.base = base
        self.found = manifests(values)
        self.port, self.metrics = free_port(), free_port()
        for kind, key in (("ConfigMap", "data"), ("Secret", "data")):
            for made in (item for item in self.found if item["kind"] == kind):
                self._write(made, made[key], encoded=kind == "Secret")

    def pod(self, kind: str, name: str | None = None) -> Any:
        spec = only(self.found, kind, name)["spec"]
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        return spec["template"]["spec"]

    def command(self, pod: Any) -> list[str]:
        (container,) = pod["containers"]
        return [sys.executable, "-m", "jettison", *map(self._placed(pod), container["args"])]

    def environment(self, pod: Any) -> dict[str, str]:
        (container,) = pod["containers"]
        hidden = ("REGISTRY_", "AWS_", "JETTISON_")
        found = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
        placed = self._placed(pod)
        for variable in container["env"]:
            if "value" in variable:
                found[variable["name"]] = placed(variable["value"])
            else:
                reference = variable["valueFrom"]["secretKeyRef"]
                secret = only(self.found, "Secret", reference["name"])["data"][reference["key"]]
                found[variable["name"]] = base64.b64decode(secret).decode()
        return found

    def run(self, kind: str, name: str) -> subprocess.CompletedProcess[str]:
        pod = self.pod(kind, name)
        return subprocess.run(
            self.command(pod),
            env=self.environment(pod),
            cwd=self.base,
            capture_output=True,
            text=True,
            check=False,
        )

    def _placed(self, pod: Any) -> Callable[[str], str]:
        """Put folders in place of the pod's mounts, the longest first."""
        (container,) = pod["containers"]
        volumes = {volume["name"]: self._folder(volume) for volume in pod["volumes"]}
        mounts = {
            mount["mountPath"].rstrip("/"): volumes[mount["name"]]
            for mount in container["volumeMounts"]
        }

        def place(text: str) -> str:
            for path in sorted(mounts, key=len, reverse=True):
                if text == path or text.startswith(f"{path}/"):
                    return str(mounts[path]) + text.removeprefix(path)
            return text.replace("reg-docker-registry:5000", f"127.0.0.1:{self.port}")

        return place

    def _folder(self, volume: Mapping[str, Any]) -> Path:
        source = volume.get("configMap", {}).get("name") or volume.get("secret", {}).get(
            "secretName"
        )
        folder = self.base / str(source or volume["name"])
        folder.mkdir(exist_ok=True)
        return folder

    def _write(self, made: Any, data: Mapping[str, str], *, encoded: bool) -> None:
        folder = self.base / made["metadata"]["name"]
        folder.mkdir()
        for key, text in data.items():
            raw = base64.b64decode(text) if encoded else text.encode()
            raw = raw.replace(b"addr: :5000", f"addr: 127.0.0.1:{self.port}".encode())
            raw = raw.replace(b"addr: :5001", f"addr: 127.0.0.1:{self.metrics}".encode())
            (folder / key).write_bytes(raw)


class Server(Remote):
    """The registry's container of a release, as a process."""

    def __init__(self, release: Release) -> None:
        self.release = release
        self.port = release.port
        pod = release.pod("Deployment")
        self.log = release.base / "server.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                release.command(pod), env=release.environment(pod), stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            assert self.process.poll() is None, self.log.read_text("utf-8")
            assert time.monotonic() < deadline, self.log.read_text("utf-8")
            time.sleep(0.05)

    def answers(self) -> bool:
        """Whether the probe of the pod succeeds."""
        try:
            return self.request("GET", "/").status == 200
        except OSError:
            return False

    def metrics(self) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.release.metrics, timeout=60)
        with closing(connection):
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()


@contextmanager
def serving(release: Release) -> Iterator[Server]:
    server = Server(release)
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.wait(START_SECONDS)  # notifications are tried until draintimeout


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "release"
    folder.mkdir()
    return folder


def age(folder: Path) -> None:
    """Set everything back by a day, so that it counts as idle."""
    before = time.time() - 86400
    for minutes, path in enumerate(sorted(folder.rglob("*"), reverse=True)):
        if "pulls" not in path.parts:
            os.utime(path, (before - 60 * minutes,) * 2)


def push_and_overwrite(server: Server) -> None:
    for number in range(4):
        server.push("app", f"pr-{number}", one(number))
    server.push("app", "latest", one(10))
    server.push("app", "latest", one(11))


def test_on_a_volume(base: Path) -> None:
    need("htpasswd")
    made = subprocess.run(
        ["htpasswd", "-Bbn", "ann", "secret"], capture_output=True, text=True, check=True
    )
    release = Release(
        base,
        {
            **JOBS,
            "persistence": {"enabled": True, "deleteEnabled": True},
            "secrets": {"htpasswd": made.stdout, "haSharedSecret": "shared"},
        },
    )
    with serving(release) as server:
        assert server.request("GET", "/v2/").status == 401
        server.authorization = "Basic " + base64.b64encode(b"ann:secret").decode()
        push_and_overwrite(server)
        data = base / "data"
        age(data)
        pruned = release.run("CronJob", "reg-docker-registry-prune")
        assert pruned.returncode == 0, pruned.stderr
        assert server.tags("app") == ["latest", "pr-3"], pruned.stdout + pruned.stderr
        blobs = len([*data.glob("docker/registry/v2/blobs/sha256/*/*/data")])
        collected = release.run("CronJob", "reg-docker-registry-garbage-collector")
        assert collected.returncode == 0, collected.stderr
        # The overwritten image went; what prune removed can be undone, so it stays for a week.
        assert server.manifest("app", str(one(10).digest)).status == 404
        assert server.manifest("app", str(one(11).digest)).status == 200
        assert len([*data.glob("docker/registry/v2/blobs/sha256/*/*/data")]) == blobs - 3


def test_on_a_bucket(base: Path, tmp_path: Path) -> None:
    with Gateway(tmp_path / "store") as gateway:
        bucket = gateway.bucket("images")
        release = Release(
            base,
            {
                **JOBS,
                "storage": "s3",
                "persistence": {"deleteEnabled": True},
                "s3": {
                    "region": REGION,
                    "bucket": "images",
                    "regionEndpoint": gateway.endpoint,
                    "forcepathstyle": True,
                    "secure": False,
                },
                "secrets": {"s3": {"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}},
                # As their chart has it; nothing of ours remembers blobs.
                "configData": {"storage": {"cache": {"blobdescriptor": "inmemory"}}},
            },
        )
        with serving(release) as server:
            push_and_overwrite(server)
            age(bucket.folder)
            pruned = release.run("CronJob", "reg-docker-registry-prune")
            assert pruned.returncode == 0, pruned.stderr
            assert server.tags("app") == ["latest", "pr-3"], pruned.stdout + pruned.stderr
            collected = release.run("CronJob", "reg-docker-registry-garbage-collector")
            assert collected.returncode == 0, collected.stderr
            assert server.manifest("app", str(one(10).digest)).status == 404
            assert server.manifest("app", str(one(11).digest)).status == 200
        # Nothing answers now, and nobody knows who else takes pushes: with a cache it is refused.
        refused = release.run("CronJob", "reg-docker-registry-garbage-collector")
        assert refused.returncode == 12, refused.stderr


def test_alerts_and_dashboard_ask_for_what_is_served(base: Path) -> None:
    policy = base / "policy.yml"
    policy.write_text("rules:\n- {name: a, state: untagged, remove: {older_than: 7d}}\n", "utf-8")
    retention = {"policy": str(policy), "schedule": "0 3 * * *"}
    hook = {"name": "hook", "url": f"http://127.0.0.1:{free_port()}/", "timeout": "1s"}
    release = Release(
        base,
        {
            "metrics": {"enabled": True},
            "configData": {
                "storage": {"delete": {"enabled": True}},
                "notifications": {"endpoints": [hook]},
                "jettison": {"retention": retention},
            },
        },
    )
    with serving(release) as server:
        server.push("app", "1", one(1))
        served = set(re.findall(r"^# TYPE (\w+) ", server.metrics(), re.MULTILINE))
    asked = {
        re.sub("_bucket$", "", name) for expression in expressions() for name in named(expression)
    }
    after_a_run = {name for name in asked if name.startswith("jettison_retention_last_")}
    assert asked - OTHERS.keys() - after_a_run <= served
