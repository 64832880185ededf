"""The story that ``jettison demo`` tells, with the commands that a user would type."""

import asyncio
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from jettison.cli.output import bold, write
from jettison.client import RemoteRegistry
from jettison.demo.images import (
    Image,
    Index,
    cosign_tag,
    image,
    index,
    layer,
    random_bytes,
    signature,
)
from jettison.demo.peer import Peer, running
from jettison.model.names import RepoName, Tag
from jettison.registry import RawManifest

__all__ = ["tell"]

DAYS_OLD: Final = 9

_POLICY: Final = """\
max_removal: 50%
protect:
  tags: [latest, "v*"]
rules:
- name: builds
  repositories: ["shop/ci"]
  tags: ["re:.+-[0-9a-f]{7}"]
  group_by: "re:(?P<branch>.+)-[0-9a-f]{7}"
  clock: created    # these images were all pushed just now
  keep: {last: 3, within: 2d}
  remove: rest
"""


def tell(*, keep: bool = False) -> None:
    """Start a registry, push images, and delete, free, prove and undo; then clean up.

    ``keep`` leaves the folder. Raises the first command's failure: a demo that goes wrong says so.
    """
    folder = Path(tempfile.mkdtemp(prefix="jettison-demo-"))
    try:
        with running(folder) as peer:
            _Story(folder, peer).tell()
    finally:
        if keep:
            write(f"Everything is still in {folder}.")
        else:
            shutil.rmtree(folder)


class _Story:
    def __init__(self, folder: Path, peer: Peer) -> None:
        self._peer = peer
        self._folder = folder
        # The demo's runs are not the user's: nothing of it may show up in `jettison runs` later.
        self._environment = os.environ | {
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CACHE_HOME": str(folder / "cache"),
        }
        coloured = sys.stdout.isatty() or os.environ.get("FORCE_COLOR")
        if coloured and not os.environ.get("NO_COLOR"):
            self._environment["FORCE_COLOR"] = "1"

    def tell(self) -> None:
        host, config = self._peer.host, self._peer.configuration.name
        self._say("A registry is running, and images are pushed to it.")
        asyncio.run(_push_all(host))
        _age(self._peer.root, DAYS_OLD * 86400)
        self._say(
            f"(Their files are dated {DAYS_OLD} days back: what was just pushed is never "
            "collected.)"
        )

        self._say("1. Is it a registry that lets us delete, and what is in it?")
        self._jettison("check", host, "--storage", config)
        self._jettison("ls", host, "-l")
        self._jettison("ls", f"{host}/shop/web", "--exclusive", "--storage", config)

        self._say("2. Who shares the layers of an image, and what would removing it free?")
        self._jettison("inspect", f"{host}/shop/web:1.0", "--storage", config)

        self._say("3. Two tags, one digest: remove one, and the other stays.")
        self._jettison("rm", f"{host}/shop/web:latest", "--storage", config, "--yes")
        self._pull("shop/web:2.0")

        self._say("4. From a tag to freed bytes. The plan first, changing nothing:")
        self._jettison("rm", f"{host}/shop/web:1.0", "--reclaim", "--storage", config, "--dry-run")
        self._say("Then the same for real: delete, collect, verify. Its signature goes along.")
        before = self._disk()
        self._jettison("rm", f"{host}/shop/web:1.0", "--reclaim", "--storage", config, "--yes")
        after = self._disk()
        self._say(f"   {before:,} - {after:,} = {before - after:,} bytes came back.")
        self._pull("shop/api:1.0")

        self._say("5. The wrong one deleted? A two-platform image goes ...")
        self._jettison("rm", f"{host}/shop/tools:1", "--storage", config, "--yes")
        self._say("... a collection keeps what can still be undone ...")
        self._jettison("gc", config, "--yes")
        self._say("... and everything is put back, digest for digest.")
        self._jettison("undo", "last")
        self._pull("shop/tools:1")

        self._say(
            "6. Now it may really go. Ending the undo window, and not waiting until what the undo "
            "has just used is idle, needs a registry that rests:"
        )
        self._jettison("rm", f"{host}/shop/tools:1", "--storage", config, "--yes")
        before = self._disk()
        self._jettison("gc", config, "--now", "--grace", "0", "--assume-quiescent", "--yes")
        after = self._disk()
        self._say(f"   {before:,} - {after:,} = {before - after:,} bytes came back.")
        self._jettison("verify", "last")

        self._say("7. Every night, by a policy: the newest three builds of each branch stay.")
        policy = self._folder / "retention.yml"
        policy.write_text(_POLICY, "utf-8")
        self._show("cat retention.yml")
        write(*_POLICY.splitlines())
        self._jettison("prune", host, "--policy", policy.name, "--out", "plan.json")
        self._say("Why does one of them stay, and until when?")
        self._jettison("explain", f"{host}/shop/ci:main-4444444", "--policy", policy.name)
        self._say("The plan is applied as it was printed, and is undone as one run.")
        self._jettison("apply", "plan.json", "--yes")
        self._jettison("ls", f"{host}/shop/ci")
        self._jettison("undo", "last")
        self._jettison("ls", f"{host}/shop/ci")
        self._jettison("runs")

    # Showing.

    def _say(self, text: str) -> None:
        write("", bold(text))

    def _show(self, command: str) -> None:
        write("", bold(f"$ {command}"))

    def _jettison(self, *arguments: str) -> None:
        self._show(shlex.join(["jettison", *arguments]))
        self._run([sys.executable, "-m", "jettison", *arguments])

    def _pull(self, name: str) -> None:
        """Pull an image with another client, if there is one on this machine."""
        if shutil.which("skopeo") is None:
            return
        with tempfile.TemporaryDirectory(prefix="jettison-demo-") as target:
            source = f"docker://{self._peer.host}/{name}"
            options = ["--quiet", "--all", "--src-tls-verify=false"]
            self._show(shlex.join(["skopeo", "copy", *options, source, "dir:pulled"]))
            # The demo must not depend on a policy that the machine may not have.
            self._run(
                ["skopeo", "--insecure-policy", "copy", *options, source, f"dir:{target}/pulled"],
            )
        write("pulled in full")

    def _run(self, command: list[str]) -> None:
        subprocess.run(command, env=self._environment, cwd=self._folder, check=True)

    def _disk(self) -> int:
        """Show the sum of the sizes of all blob files, in bytes."""
        blobs = self._peer.root / "docker/registry/v2/blobs"
        self._show(
            "find registry/docker/registry/v2/blobs -type f -printf '%s\\n' | paste -sd+ | bc"
        )
        total = sum(path.stat().st_size for path in blobs.rglob("*") if path.is_file())
        write(str(total))
        return total


# The images: real ones, made up.


async def _push_all(host: str) -> None:
    system = layer({"etc/os-release": b"ID=demo\n", "lib/libc.so": random_bytes(1, 1_500_000)})
    runtime = layer({"usr/lib/runtime.so": random_bytes(2, 800_000)})

    def app(seed: int, size: int, architecture: str = "amd64", day: int = 2) -> Image:
        content = layer({"app/server": random_bytes(seed, size)})
        created = f"2026-01-{day:02d}T03:04:05Z"
        return image([system, runtime, content], architecture=architecture, created=created)

    old, new = app(10, 3_000_000), app(11, 3_100_000, day=20)
    platforms = [app(30, 900_000), app(31, 950_000, "arm64")]
    async with RemoteRegistry(host) as registry:
        await _push(registry, "shop/web", "1.0", old)
        await _push(registry, "shop/web", cosign_tag(old.manifest.digest, ".sig"), signature(old))
        await _push(registry, "shop/web", "2.0", new)
        await _push(registry, "shop/web", "latest", new)
        await _push(registry, "shop/api", "1.0", app(20, 600_000))
        await _push(registry, "shop/tools", "1", index(platforms))
        for number in range(1, 6):
            build = app(40 + number, 200_000, day=2 + number)
            await _push(registry, "shop/ci", f"main-{number}" + 6 * str(number), build)
            if number == 1:
                await _push(registry, "shop/ci", "v1.0", build)
        await _push(registry, "shop/ci", "topic-abcdef0", app(50, 200_000, day=9))


async def _push(registry: RemoteRegistry, name: str, tag: str, pushed: Image | Index) -> None:
    repository = RepoName(name)
    for blob in pushed.blobs():
        if await registry.blob_size(repository, blob.digest) is None:
            await registry.put_blob(repository, blob.digest, _chunks(blob.raw))
    for manifest in pushed.manifests():
        raw = RawManifest(manifest.digest, manifest.media_type, manifest.raw)
        await registry.put_manifest(repository, manifest.digest, raw)
    top = pushed.manifest
    await registry.put_manifest(
        repository, Tag(tag), RawManifest(top.digest, top.media_type, top.raw)
    )


async def _chunks(raw: bytes) -> AsyncIterator[bytes]:
    yield raw


def _age(root: Path, seconds: float) -> None:
    """Date all files back, as if they had been pushed then."""
    then = time.time() - seconds
    for path in root.rglob("*"):
        os.utime(path, (then, then))
