"""The clients that people have, each driven the same way: log in, push, pull into an empty store.

What they would write outside of the test's folder (caches, keys, locks) they write into folders of
its own, which a mount namespace puts over the system's.
"""

import base64
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from jettison.demo.images import Image, Index, write_layout
from jettison.model.digest import Digest
from tests.support.missing import lack, need
from tests.support.registry import DockerRegistry

TIMEOUT: Final = 60
START_SECONDS: Final = 60.0

# /run and /var/lib are empty for them, and so is /etc/docker; the last argument's name is taken for
# another address of loopback, as dockerd trusts any certificate where a name means 127.0.0.0/8.
PRIVATE: Final = """\
cd "$0"
mount --bind run /run && mount --bind lib /var/lib && mount --bind docker /etc/docker &&
mount --bind hosts /etc/hosts && exec "$@"
"""


class Failed(AssertionError):
    """A client said no; its text is the error's."""


@dataclass(frozen=True)
class Private:
    """Folders of one's own over those of the system, and a home with nothing in it."""

    folder: Path

    def __post_init__(self) -> None:
        need_namespaces()
        for name in ("run", "lib", "docker", "home", "tmp"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "hosts").write_text("0.0.0.0 localhost\n", encoding="ascii")
        (self.folder / "auth.json").write_text("{}", encoding="ascii")
        (self.folder / "empty.json").write_text("{}", encoding="ascii")
        # podman keeps its locks in the memory that all processes share, unless told otherwise
        engine = (
            '[engine]\nlock_type = "file"\nevents_logger = "none"\ncgroup_manager = "cgroupfs"\n'
        )
        (self.folder / "containers.conf").write_text(engine, encoding="ascii")
        storage = (
            '[storage]\ndriver = "vfs"\n'
            'graphroot = "/var/lib/containers/storage"\nrunroot = "/run/containers/storage"\n'
        )
        (self.folder / "storage.conf").write_text(storage, encoding="ascii")

    @property
    def authfile(self) -> Path:
        return self.folder / "auth.json"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
            "REGISTRY_AUTH_FILE": str(self.authfile),
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
        }

    def command(self, *words: str | Path) -> list[str]:
        inside = ["sh", "-c", PRIVATE, str(self.folder), *map(str, words)]
        return ["unshare", "--mount", "--propagation", "private", *inside]

    def run(self, *words: str | Path, stdin: str = "") -> str:
        """Run a program to its end; return what it said.

        Raises:
            Failed: It ended with an error.
        """
        done = subprocess.run(
            self.command(*words),
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        if done.returncode:
            told = f"{done.stdout}{done.stderr}"
            raise Failed(f"{' '.join(map(str, words))}: exit {done.returncode}\n{told}")
        return done.stdout

    @contextmanager
    def running(self, ready: Path, *words: str | Path) -> Iterator[None]:
        """Run a daemon until the end; it is up when the socket `ready` takes connections."""
        with (self.folder / f"{words[0]}.log").open("wb") as log:
            process = subprocess.Popen(
                self.command(*words),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _listens(ready):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(Path(log.name).read_text(encoding="utf-8"))
                time.sleep(0.02)
            yield
        finally:
            process.terminate()
            try:
                process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@cache
def _namespaces() -> bool:
    return subprocess.run(["unshare", "--mount", "true"], check=False).returncode == 0


def need_namespaces() -> None:
    """Skip, or fail in CI, where a process gets no mounts of its own."""
    need("unshare")
    if not _namespaces():
        lack("no mount namespace: it needs to be root, outside of a container that forbids it")


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


@dataclass
class Engine:
    """A dockerd and a containerd of our own; the sockets need a short path."""

    private: Private

    @property
    def containerd(self) -> Path:
        return self.private.folder / "c.sock"

    @property
    def dockerd(self) -> Path:
        return self.private.folder / "d.sock"


@contextmanager
def engine(folder: Path) -> Iterator[Engine]:
    """Run both, with no network and no container."""
    need("containerd", "dockerd")
    it = Engine(Private(folder))
    settings = f"""\
version = 2
root = "{folder}/containerd"
state = "{folder}/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{it.containerd}"
[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"
"""
    (folder / "containerd.toml").write_text(settings, encoding="ascii")
    docker = ["--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs"]
    places: dict[str, Path] = {
        "--data-root": folder / "docker-data",
        "--exec-root": folder / "run" / "docker",
        "--pidfile": folder / "docker.pid",
        "--config-file": folder / "empty.json",
        "--containerd": it.containerd,
    }
    docker += [str(word) for pair in places.items() for word in pair]
    docker += ["--host", f"unix://{it.dockerd}"]
    with (
        it.private.running(it.containerd, "containerd", "--config", folder / "containerd.toml"),
        it.private.running(it.dockerd, "dockerd", *docker),
    ):
        yield it


@dataclass
class Client(ABC):
    """One client, and the registry that it talks to; everything of it lies below `folder`."""

    folder: Path
    registry: DockerRegistry
    engine: Engine
    trusting: bool = True
    """Whether it knows the authority that signed the registry's certificate."""
    user: tuple[str, str] | None = None

    name: ClassVar[str]
    programs: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        need("skopeo", *self.programs)
        self.private = Private(self.folder)

    @property
    def tls(self) -> bool:
        return bool(self.registry.options.get("tls"))

    @property
    def host(self) -> str:
        return self.registry.host

    def reference(self, repo: str, tag: str) -> str:
        return f"{self.host}/{repo}:{tag}"

    def login(self, user: str, password: str) -> None:
        """Log in; what follows is done as that user."""
        self.user = (user, password)

    @abstractmethod
    def push(self, repo: str, tag: str, content: Image | Index) -> Digest:
        """Bring the image into the client's own store, push it; return the digest that it names."""

    @abstractmethod
    def pull(self, repo: str, tag: str) -> Digest:
        """Pull into an empty store; return the digest of what came, as the client names it."""

    def layout(self, content: Image | Index) -> str:
        folder = self.folder / f"layout-{content.digest.hex}"
        return f"oci:{write_layout(folder, {'it': content})}:it"


class Containers(Client):
    """What skopeo, buildah and podman have in common."""

    def login(self, user: str, password: str) -> None:
        self._login(self.programs[0], user, password)

    def _login(self, program: str, user: str, password: str) -> None:
        words = ["login", *self.trust(""), "--username", user, "--password-stdin", self.host]
        self.private.run(program, *words, stdin=password)

    def trust(self, prefix: str) -> list[str]:
        """How it is told what to trust; `prefix` is `src-` or `dest-` for skopeo."""
        if not self.tls:
            return [f"--{prefix}tls-verify=false"]
        folder = self.folder / "trusted"
        folder.mkdir(exist_ok=True)
        if self.trusting:
            shutil.copy(self.registry.ca, folder / "ca.crt")
        return [f"--{prefix}cert-dir", str(folder)]

    def digestfile(self) -> Path:
        return self.folder / "digest"


class Skopeo(Containers):
    name = "skopeo"
    programs = ("skopeo",)

    def push(self, repo: str, tag: str, content: Image | Index, *more: str) -> Digest:
        return self.copy(self.layout(content), repo, tag, *more)

    def copy(self, source: str, repo: str, tag: str, *more: str) -> Digest:
        """Copy from anywhere, with more options of skopeo's."""
        words = ["--insecure-policy", "copy", "--all", "--digestfile", str(self.digestfile())]
        target = f"docker://{self.reference(repo, tag)}"
        self.private.run("skopeo", *words, *self.trust("dest-"), *more, source, target)
        return Digest(self.digestfile().read_text(encoding="ascii"))

    def pull(self, repo: str, tag: str) -> Digest:
        folder = self.folder / "pulled"
        shutil.rmtree(folder, ignore_errors=True)
        source = f"docker://{self.reference(repo, tag)}"
        words = ["--insecure-policy", "copy", "--all", *self.trust("src-"), source, f"dir:{folder}"]
        self.private.run("skopeo", *words)
        return Digest.of((folder / "manifest.json").read_bytes())

    def delete(self, repo: str, tag: str) -> None:
        """Delete what the tag points to."""
        self.private.run(
            "skopeo", "delete", *self.trust(""), f"docker://{self.reference(repo, tag)}"
        )


class Stored(Containers):
    """A program with a store of images: `COMMAND push`, `COMMAND pull`."""

    def __call__(self, *words: str | Path) -> str:
        return self.private.run(self.programs[0], *words)

    def push(self, repo: str, tag: str, content: Image | Index) -> Digest:
        image = self("pull", "--quiet", self.layout(content)).split()[-1]
        return self.push_image(image, repo, tag)

    def push_image(self, image: str, repo: str, tag: str) -> Digest:
        """Push what is in the store already."""
        told = ["--digestfile", str(self.digestfile())]
        self("push", *self.trust(""), *told, image, f"docker://{self.reference(repo, tag)}")
        return Digest(self.digestfile().read_text(encoding="ascii"))

    def push_list(self, name: str, repo: str, tag: str) -> Digest:
        """Push a manifest list of the store, with all that it lists."""
        words = ["--all", *self.trust(""), "--digestfile", str(self.digestfile())]
        self("manifest", "push", *words, name, f"docker://{self.reference(repo, tag)}")
        return Digest(self.digestfile().read_text(encoding="ascii"))

    def pull(self, repo: str, tag: str) -> Digest:
        self("rmi", "--all", "--force")
        self("pull", "--quiet", *self.trust(""), self.reference(repo, tag))
        return Digest(self("images", "--format", "{{.Digest}}").split()[0])


class Buildah(Stored):
    name = "buildah"
    programs = ("buildah",)

    def build(self, context: Path, *words: str) -> None:
        """Build without a container."""
        self("bud", "--isolation", "chroot", *words, str(context))


class Podman(Stored):
    name = "podman"
    programs = ("podman",)


class _Socket(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(str(self._path))


class Docker(Client):
    """dockerd, told over its API what `docker` would tell it."""

    name = "dockerd"
    programs = ("dockerd", "containerd")

    @property
    def host(self) -> str:
        """By a name, where its authority matters: it trusts any at 127.0.0.1."""
        return f"localhost:{self.registry.port}" if self.tls else self.registry.host

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tls and self.trusting:
            certs = self.engine.private.folder / "docker/certs.d" / self.host
            certs.mkdir(parents=True)
            shutil.copy(self.registry.ca, certs / "ca.crt")

    def login(self, user: str, password: str) -> None:
        super().login(user, password)
        self.call("POST", "/auth", {"Content-Type": "application/json"}, self._login())

    def push(self, repo: str, tag: str, content: Image | Index) -> Digest:
        archive = self.folder / "archive.tar"
        reference = self.reference(repo, tag)
        words = ["--insecure-policy", "copy", self.layout(content)]
        archive.unlink(missing_ok=True)
        self.private.run("skopeo", *words, f"docker-archive:{archive}:{reference}")
        self.call(
            "POST", "/images/load", {"Content-Type": "application/x-tar"}, archive.read_bytes()
        )
        return self.push_again(repo, tag)

    def push_again(self, repo: str, tag: str) -> Digest:
        """Push what it has."""
        auth = base64.urlsafe_b64encode(self._login()).decode()
        path = f"/images/{self.host}/{repo}/push?tag={tag}"
        told = self.call("POST", path, {"X-Registry-Auth": auth})
        return next(Digest(one["aux"]["Digest"]) for one in told if "aux" in one)

    def pull(self, repo: str, tag: str) -> Digest:
        for one in self.call("GET", "/images/json")[0]:
            self.call("DELETE", f"/images/{one['Id']}?force=true")
        auth = base64.urlsafe_b64encode(self._login()).decode()
        path = f"/images/create?fromImage={self.host}/{repo}&tag={tag}"
        told = self.call("POST", path, {"X-Registry-Auth": auth})
        found = (re.fullmatch("Digest: (.*)", one.get("status", "")) for one in told)
        return next(Digest(one[1]) for one in found if one)

    def _login(self) -> bytes:
        user, password = self.user or ("", "")
        login = {"username": user, "password": password, "serveraddress": self.host}
        return json.dumps(login if self.user else {}).encode()

    def call(
        self,
        method: Literal["GET", "POST", "DELETE"],
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> list[Any]:
        """Return the JSON documents of the answer.

        Raises:
            Failed: The status, or a document, tells an error.
        """
        connection = _Socket(self.engine.dockerd)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            told = answer.read().decode()
        finally:
            connection.close()
        documents = [json.loads(line) for line in told.splitlines() if line.strip()]
        failed = any(isinstance(one, dict) and "error" in one for one in documents)
        if answer.status >= 400 or failed:
            raise Failed(f"dockerd: {method} {path}: {answer.status}\n{told}")
        return documents


_NOT_READ: Final = "rpc error: code = Internal desc = unexpected EOF"
"""ctr could not read what is to be pushed from its own daemon: so it is now and then, whatever the
registry does (containerd issue 5734, nerdctl issue 984)."""


class Containerd(Client):
    """containerd's ctr."""

    name = "ctr"
    programs = ("ctr", "containerd")

    def push(self, repo: str, tag: str, content: Image | Index) -> Digest:
        archive = self.folder / "archive.tar"
        layout = self.layout(content).removeprefix("oci:").removesuffix(":it")
        named = self.folder / "layout"
        shutil.rmtree(named, ignore_errors=True)
        shutil.copytree(layout, named)
        index = json.loads((named / "index.json").read_bytes())
        name = {"org.opencontainers.image.ref.name": tag}
        index["manifests"][0]["annotations"] = name
        (named / "index.json").write_text(json.dumps(index), encoding="ascii")
        subprocess.run(["tar", "-cf", archive, "-C", named, "."], check=True)
        every = ["--all-platforms"] if isinstance(content, Index) else []
        words = ["--snapshotter", "native", *every, "--base-name", f"{self.host}/{repo}"]
        self("images", "import", *words, archive)
        words = ["push", *self.options(), self.reference(repo, tag)]
        try:
            self("images", *words)
        except Failed as error:
            if _NOT_READ not in str(error):
                raise
            self("images", *words)
        return self.digest(repo, tag)

    def pull(self, repo: str, tag: str, *more: str) -> Digest:
        """Pull into a store without content; `--all-platforms`, say."""
        for one in self("images", "ls", "--quiet").split():
            self("images", "rm", "--sync", one)
        assert not self("content", "ls", "--quiet").split()
        words = ["--snapshotter", "native", *more, *self.options()]
        self("images", "pull", *words, self.reference(repo, tag))
        return self.digest(repo, tag)

    def digest(self, repo: str, tag: str) -> Digest:
        rows = [line.split() for line in self("images", "ls").splitlines()]
        return next(Digest(row[2]) for row in rows if row[0] == self.reference(repo, tag))

    def contents(self) -> set[str]:
        """The digests of all that it has."""
        return set(self("content", "ls", "--quiet").split())

    def options(self) -> list[str]:
        login = ["--user", ":".join(self.user)] if self.user else []
        if not self.tls:
            return ["--plain-http", *login]
        hosts = self.folder / "hosts.d" / self.host
        hosts.mkdir(parents=True, exist_ok=True)
        ca = f'ca = "{self.registry.ca}"\n' if self.trusting else ""
        text = f'server = "https://{self.host}"\n[host."https://{self.host}"]\n{ca}'
        (hosts / "hosts.toml").write_text(text, encoding="ascii")
        return ["--hosts-dir", str(hosts.parent), *login]

    def __call__(self, *words: str | Path) -> str:
        own = ["--address", str(self.engine.containerd), "--namespace", "test"]
        return self.private.run("ctr", *own, *words)


CLIENTS: Final[Sequence[type[Client]]] = (Skopeo, Buildah, Podman, Docker, Containerd)
