"""A real registry for tests, on a loopback port: Debian's docker-registry, or `jettison serve`.

    registry = DockerRegistry(tmp_path, delete=True)
    with registry:
        digest = registry.push("app", "1", images.image([...]))
        assert registry.pull_skopeo("app", "1").manifest == ...

Both take the same configuration file, so they take the same options here.
HTTP is done with the standard library alone: a test must not believe what its subject says.
"""

import base64
import http.client
import json
import os
import re
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Literal, Protocol, Self, TypedDict, Unpack
from urllib.parse import quote, urlsplit

from jettison.demo.images import Image, Index, write_layout
from jettison.model.digest import Digest
from jettison.model.mediatypes import ACCEPT, DOCKER_LIST, DOCKER_MANIFEST
from tests.support.missing import need

# Below Linux's range for outgoing connections, so that a restart finds its port free. Chosen by the
# system's own chance: hypothesis seeds the other, and then all workers would try the same port.
PORTS = range(20_000, 32_000)
START_SECONDS = 60.0
STOP_SECONDS = 10.0
LOG_SECONDS = 10.0


class Options(TypedDict, total=False):
    """What a registry may be started with."""

    delete: bool | None
    """True or False set `storage.delete.enabled`; None leaves the key out (so: disabled)."""
    cache: Literal["inmemory"] | None
    readonly: bool
    htpasswd: tuple[str, str] | None
    """User and password, both asked for by every request."""
    tls: bool
    """A certificate for localhost and 127.0.0.1, signed by the authority at `.ca`."""
    extra: Mapping[str, Any]
    """More configuration, merged over the rest; `{"auth": {"token": {...}}}`, say."""


Program = Literal["docker-registry", "jettison", "distribution-3", "crane"]


class RegistryFactory(Protocol):
    """Start a registry that the fixture stops; which program it is, the test run says."""

    def __call__(self, **options: Unpack[Options]) -> "DockerRegistry": ...


@dataclass(frozen=True)
class Response:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Access:
    """One line of the registry's access log."""

    method: str
    path: str
    status: int


@dataclass(frozen=True)
class Pulled:
    """What skopeo wrote: a folder in its `dir:` layout. It checked every digest on its way."""

    path: Path

    @property
    def manifest(self) -> bytes:
        return (self.path / "manifest.json").read_bytes()

    @property
    def manifests(self) -> dict[Digest, bytes]:
        """Every manifest, the index and its children, by digest."""
        files = [self.path / "manifest.json", *self.path.glob("*.manifest.json")]
        return {Digest.of(raw): raw for raw in (file.read_bytes() for file in files)}

    @property
    def blobs(self) -> dict[Digest, bytes]:
        """Every config and layer, by digest."""
        files = [file for file in self.path.iterdir() if re.fullmatch("[0-9a-f]{64}", file.name)]
        return {Digest.of(raw): raw for raw in (file.read_bytes() for file in files)}


class Remote:
    """A registry on a loopback port, whoever runs it: what a test asks and tells it itself."""

    port = 0
    authorization: str | None = None
    """Sent with every request of `request` and `push`; set it where `token` auth needs it."""

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Response:
        """One request on a connection of its own; `path` starts with /v2/."""
        sent = dict(headers or {})
        if self.authorization is not None:
            sent.setdefault("Authorization", self.authorization)
        connection = self._connect()
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return Response(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def manifest(self, repo: str, ref: str) -> Response:
        """GET a manifest with the complete Accept list, which our server counts as no pull.

        Pulls reach its book seconds later, and would keep an image that a test only looked at.
        """
        headers = {"Accept": ACCEPT, "User-Agent": "jettison"}
        return self.request("GET", f"/v2/{repo}/manifests/{ref}", headers)

    def tags(self, repo: str) -> list[str]:
        """The sorted tags; none for a repository that is not there."""
        answer = self.request("GET", f"/v2/{repo}/tags/list")
        return sorted(answer.json["tags"] or []) if answer.status == 200 else []

    def delete(self, repo: str, digest: str) -> int:
        """DELETE a manifest by digest, as another client would; return the status."""
        return self.request("DELETE", f"/v2/{repo}/manifests/{digest}").status

    def push(self, repo: str, tag: str | None, content: Image | Index) -> Digest:
        """Put the image or index and all below it, by digest, then by tag; return its digest."""
        for blob in content.blobs():
            self.push_blob(repo, blob.raw)
        for manifest in content.manifests():
            self.put_manifest(repo, manifest.digest, manifest.raw, manifest.media_type)
        if tag is not None:
            self.put_manifest(repo, tag, content.manifest.raw, content.manifest.media_type)
        return content.digest

    def push_blob(self, repo: str, raw: bytes) -> Digest:
        """Upload a blob, unless the repository has it."""
        digest = Digest.of(raw)
        if self.request("HEAD", f"/v2/{repo}/blobs/{digest}").status == 200:
            return digest
        opened = self.request("POST", f"/v2/{repo}/blobs/uploads/")
        _expect(opened, 202, f"start of an upload to {repo}")
        upload = urlsplit(opened.headers["Location"])
        query = "&".join(filter(None, [upload.query, f"digest={quote(digest)}"]))
        headers = {"Content-Type": "application/octet-stream"}
        done = self.request("PUT", f"{upload.path}?{query}", headers, raw)
        _expect(done, 201, f"upload of {digest} to {repo}")
        return digest

    def put_manifest(self, repo: str, ref: str, raw: bytes, media_type: str) -> Digest:
        done = self.request("PUT", f"/v2/{repo}/manifests/{ref}", {"Content-Type": media_type}, raw)
        _expect(done, 201, f"manifest {repo} {ref}")
        return Digest(done.headers["Docker-Content-Digest"])

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)


class DockerRegistry(Remote):
    """One `docker-registry serve`, its configuration file and its storage, below `base`."""

    program: ClassVar[Program] = "docker-registry"
    command: ClassVar[tuple[str, ...]] = ("docker-registry",)
    in_bucket: ClassVar[bool] = False
    """Whether its storage is a bucket, for what rightly differs there."""

    def __init__(self, base: Path, **options: Unpack[Options]) -> None:
        need(self.command[0])
        self.base = base
        self.root = base / "storage"
        self.config = base / "config.yml"
        self.log = base / "registry.log"
        self.ca = base / "tls" / "ca.crt"
        self.options = options
        self._process: subprocess.Popen[bytes] | None = None
        # Ours to tell this registry from another that took its port.
        self._mark = secrets.token_hex(8)
        self.root.mkdir(parents=True)
        if login := options.get("htpasswd"):
            self._make_htpasswd(*login)
        if options.get("tls"):
            self._make_certificates()

    # -- its life ------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start it and wait until it answers: at first on a free port, later on the same."""
        if self.port:
            self._serve()
            return self
        for _ in range(20):
            self.port = free_port()
            self.write_config()
            try:
                self._serve()
            except PortTakenError:
                continue
            return self
        raise RuntimeError(f"no free port found for {self.program}")

    def stop(self) -> None:
        """End its process, and no other."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """End its process as `kill -9` does."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def restart(self) -> None:
        """Stop and start, with the configuration file as it is on disk now."""
        self.stop()
        self.start()

    def reconfigure(self, **options: Unpack[Options]) -> None:
        """Write the configuration file anew with some options changed, and restart."""
        self.options = {**self.options, **options}
        self.write_config()
        self.restart()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @contextmanager
    def at_rest(self) -> Iterator[tuple[str, ...]]:
        """Yield the options with which a command may repair the storage, or undo that.

        A disk can be repaired beside a registry. Of a bucket the registry is stopped meanwhile.
        """
        yield ()

    @property
    def reclaims(self) -> bool:
        """Whether `--reclaim` goes on beside it: in a bucket, only beside our own server."""
        return not self.in_bucket or self.program == "jettison"

    @property
    def settling(self) -> tuple[str, ...]:
        """Options that let a collection beside it end soon: in a bucket it goes on for minutes."""
        return () if self.reclaims else ("--settle", "1s")

    # -- its storage ---------------------------------------------------------------------------

    @property
    def storage(self) -> Path:
        """What commands are told where its storage is: the folder, or for a bucket the file."""
        return self.root

    @property
    def location(self) -> str:
        """What commands call its storage."""
        return str(self.root)

    @property
    def tree(self) -> Path:
        return self.root / "docker" / "registry" / "v2"

    def blob_files(self) -> dict[Digest, int]:
        """The size of each blob on the disk, whether or not anything references it."""
        return {
            Digest(f"sha256:{file.parent.name}"): file.stat().st_size
            for file in (self.tree / "blobs").glob("sha256/??/*/data")
            if self.is_there(file)
        }

    def is_there(self, file: Path) -> bool:
        """Whether the registry can see a file of its storage."""
        return file.exists()

    def blob_bytes(self) -> int:
        """The sizes of all files below `blobs/`, added up."""
        return sum(file.stat().st_size for file in _files(self.tree / "blobs"))

    def snapshot(self) -> dict[str, bytes]:
        """Every file of the storage by its path, to check that nothing was changed.

        Without the book of pulls, which our server keeps whenever it runs.
        """
        files = {str(file.relative_to(self.root)): file for file in _files(self.root)}
        return {
            path: file.read_bytes()
            for path, file in files.items()
            if not path.startswith("jettison/pulls/")
        }

    def age(self, seconds: float) -> None:
        """Set the times of all files and folders in the storage back, so that they count as idle.

        Folders too: one that a revision's link was removed from says that its manifest is no
        newcomer, whose time of arrival would count, which nothing can set back.
        """
        for path in sorted(self.root.rglob("*"), reverse=True):
            with suppress(FileNotFoundError):  # our server writes down its pulls meanwhile
                status = path.stat()
                os.utime(path, (status.st_atime - seconds, status.st_mtime - seconds))

    # -- talking to it -------------------------------------------------------------------------

    def accesses(self) -> list[Access]:
        """Every request since the first start, from its log, which may come a moment late."""
        mark = f"/v2/?{secrets.token_hex(8)}"
        self.request("GET", mark)
        line = re.compile(r'"([A-Z]+) (\S+) HTTP/[\d.]+" (\d{3}) ')
        deadline = time.monotonic() + LOG_SECONDS
        while mark not in (text := self.log.read_text(encoding="utf-8", errors="replace")):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.program} does not log its requests")
            time.sleep(0.01)
        found = [Access(m[1], m[2], int(m[3])) for m in line.finditer(text)]
        return [one for one in found if not one.path.startswith("/v2/?")]

    def push_skopeo(self, repo: str, tag: str, content: Image | Index) -> Digest:
        """Push with skopeo, which knows no index within an index."""
        with tempfile.TemporaryDirectory(dir=self.base) as folder:
            if content.manifest.media_type in {DOCKER_MANIFEST, DOCKER_LIST}:
                # skopeo finds only OCI media types in an OCI layout.
                source = f"dir:{_write_dir(Path(folder), content)}"
            else:
                source = f"oci:{write_layout(Path(folder), {'it': content})}:it"
            self._skopeo_copy(source, self._docker(repo, tag), "dest")
        return content.digest

    def pull_skopeo(self, repo: str, ref: str) -> Pulled:
        """Pull a tag or digest with skopeo, an index with all its members.

        skopeo knows no index within an index: pull the inner ones by themselves.
        Fails with CalledProcessError, stderr in its notes, when any part of it is missing.
        """
        folder = Path(tempfile.mkdtemp(prefix="pulled-", dir=self.base))
        self._skopeo_copy(self._docker(repo, ref), f"dir:{folder}", "src")
        return Pulled(folder)

    # -- inside --------------------------------------------------------------------------------

    def write_config(self) -> None:
        """Write the configuration file from the options: comments, sections, as people do."""
        sections = _merge(self._settings(), self.options.get("extra", {}))
        lines = ["# A registry for tests.", "version: 0.1", *_yaml(sections)]
        self.config.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _settings(self) -> dict[str, Any]:
        options = self.options
        storage: dict[str, Any] = {"filesystem": {"rootdirectory": str(self.root)}}
        if (delete := options.get("delete")) is not None:
            storage["delete"] = {"enabled": delete}
        if cache := options.get("cache"):
            storage["cache"] = {"blobdescriptor": cache}
        if options.get("readonly"):
            storage["maintenance"] = {"readonly": {"enabled": True}}
        server: dict[str, Any] = {"addr": self.host, "headers": {"X-Registry-Mark": [self._mark]}}
        if options.get("tls"):
            folder = self.ca.parent
            server["tls"] = {
                "certificate": str(folder / "server.crt"),
                "key": str(folder / "server.key"),
            }
        settings = {"log": {"level": "info"}, "storage": storage, "http": server}
        if options.get("htpasswd"):
            settings["auth"] = {"htpasswd": {"realm": "test", "path": str(self.base / "htpasswd")}}
        return settings

    def _serve(self) -> None:
        hidden = ("REGISTRY_", "OTEL_", "AWS_CA_BUNDLE")
        env = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
        env["OTEL_TRACES_EXPORTER"] = "none"  # Distribution 3 would look for a collector
        logged = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.command, *self._arguments()],
                cwd=self.base,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if not self.running:
                output = self._logged(logged)
                self._process = None
                if "address already in use" in output.lower():
                    raise PortTakenError(self.host)
                raise RuntimeError(f"{self.program} ended:\n{output}")
            if time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(
                    f"{self.program} does not answer on {self.host}:\n{self._logged(logged)}"
                )
            time.sleep(0.02)

    def _arguments(self) -> list[str]:
        return ["serve", str(self.config)]

    def _logged(self, start: int) -> str:
        return self.log.read_bytes()[start:].decode(errors="replace")

    def _answers(self) -> bool:
        try:
            return self.request("GET", "/v2/").headers["X-Registry-Mark"] == self._mark
        except (OSError, http.client.HTTPException):
            return False

    def _connect(self) -> http.client.HTTPConnection:
        if not self.options.get("tls"):
            return super()._connect()
        context = ssl.create_default_context(cafile=str(self.ca))
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=context)

    def _docker(self, repo: str, ref: str) -> str:
        return f"docker://{self.host}/{repo}{'@' if ':' in ref else ':'}{ref}"

    def _skopeo_copy(self, source: str, target: str, side: Literal["src", "dest"]) -> None:
        need("skopeo")
        options = []
        if self.options.get("tls"):
            trusted = self.base / "trusted"
            trusted.mkdir(exist_ok=True)
            shutil.copy(self.ca, trusted / "ca.crt")
            options += [f"--{side}-cert-dir", str(trusted)]
        else:
            options += [f"--{side}-tls-verify=false"]
        if login := self.options.get("htpasswd"):
            options += [f"--{side}-creds", ":".join(login)]
        elif (self.authorization or "").startswith("Bearer "):
            token = (self.authorization or "").removeprefix("Bearer ")
            options += [f"--{side}-registry-token", token]
        # Rootless, skopeo keeps its cache of blobs seen elsewhere below XDG_DATA_HOME, not in /var.
        home = self.base / "skopeo"
        env = os.environ | {"_CONTAINERS_ROOTLESS_UID": "1000", "XDG_DATA_HOME": str(home)}
        command = ["skopeo", "--insecure-policy", "copy", "--quiet", "--all", "--preserve-digests"]
        try:
            subprocess.run(
                [*command, *options, source, target],
                env=env,
                check=True,
                capture_output=True,
                text=True,
                timeout=120,
            )
        except subprocess.CalledProcessError as error:
            error.add_note(error.stderr)
            raise

    def _make_htpasswd(self, user: str, password: str) -> None:
        need("htpasswd")
        made = subprocess.run(
            ["htpasswd", "-Bbn", user, password], check=True, capture_output=True, text=True
        )
        (self.base / "htpasswd").write_text(made.stdout, encoding="utf-8")
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.authorization = f"Basic {token}"

    def _make_certificates(self) -> None:
        need("openssl")
        folder = self.ca.parent
        folder.mkdir()
        (folder / "server.ext").write_text(
            "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"
            "basicConstraints=CA:FALSE\nsubjectKeyIdentifier=hash\n"
            "authorityKeyIdentifier=keyid\n",
            encoding="utf-8",
        )
        key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
        ca_usage = "keyUsage=critical,keyCertSign,cRLSign"
        signer = "-CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext"
        for command in (
            f"req -x509 {key} -keyout ca.key -out ca.crt -days 2 -subj /CN=ca -addext {ca_usage}",
            f"req {key} -keyout server.key -out server.csr -subj /CN=localhost",
            f"x509 -req -in server.csr -out server.crt {signer}",
        ):
            subprocess.run(
                ["openssl", *command.split()], cwd=folder, check=True, capture_output=True
            )


class JettisonRegistry(DockerRegistry):
    """The same, but `jettison serve` runs on it."""

    program: ClassVar[Program] = "jettison"
    command: ClassVar[tuple[str, ...]] = (sys.executable, "-m", "jettison")


class MemoryRegistry(JettisonRegistry):
    """The same server on a storage in memory; nothing of it is in `root`, or outlives a restart."""

    command: ClassVar[tuple[str, ...]] = (
        sys.executable,
        str(Path(__file__).with_name("memory_registry.py")),
    )


class DistantRegistry(JettisonRegistry):
    """The same on a storage that no event loop may ask (`tests.support.distant`)."""

    command: ClassVar[tuple[str, ...]] = (
        sys.executable,
        str(Path(__file__).with_name("distant.py")),
    )


PEERS: Final = Path(sys.prefix) / "peers"
"""Where `make setup` builds what comes as Go modules."""


class Distribution3(DockerRegistry):
    """The same on CNCF Distribution 3."""

    program: ClassVar[Program] = "distribution-3"
    command: ClassVar[tuple[str, ...]] = (str(PEERS / "registry"),)


class CraneRegistry(DockerRegistry):
    """go-containerregistry's own registry, which has no configuration."""

    program: ClassVar[Program] = "crane"
    command: ClassVar[tuple[str, ...]] = (str(PEERS / "crane"),)

    def _arguments(self) -> list[str]:
        return ["registry", "serve", "--address", self.host, "--disk", str(self.root)]

    def _answers(self) -> bool:
        try:
            return self.running and self.request("GET", "/v2/").status == 200
        except (OSError, http.client.HTTPException):
            return False


REGISTRIES: Final[Mapping[Program, type[DockerRegistry]]] = {
    one.program: one for one in (DockerRegistry, JettisonRegistry)
}

SERVERS: Final = tuple(REGISTRIES)
"""The programs that a test of both is parametrized with."""


class PortTakenError(RuntimeError):
    """Another process took the port first."""


def free_port() -> int:
    """A loopback port that nothing listens on just now."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def _expect(answer: Response, status: int, what: str) -> None:
    if answer.status != status:
        raise RuntimeError(f"{what}: {answer.status} {answer.body.decode(errors='replace')}")


def _write_dir(folder: Path, content: Image | Index) -> Path:
    """Write skopeo's `dir:` layout."""
    for blob in content.blobs():
        (folder / blob.digest.hex).write_bytes(blob.raw)
    for manifest in content.manifests():
        (folder / f"{manifest.digest.hex}.manifest.json").write_bytes(manifest.raw)
    (folder / "manifest.json").write_bytes(content.manifest.raw)
    return folder


def _files(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.rglob("*")) if file.is_file()]


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if nested else value
    return merged


COMMENTS = {
    "storage": "where the images are",
    "filesystem": "one disk, no bucket",
    "delete": "may clients delete?",
    "http": "loopback only",
    "enabled": "asked for by the test",
}


def _yaml(settings: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Block style with comments, each in its place: on a line above, or behind a value."""
    for key, value in settings.items():
        comment = COMMENTS.get(key)
        if isinstance(value, Mapping) and value:
            if comment:
                yield f"{indent}# {key}: {comment}"
            yield f"{indent}{key}:"
            yield from _yaml(value, indent + "  ")
        else:
            yield f"{indent}{key}: {json.dumps(value)}" + (f"  # {comment}" if comment else "")
