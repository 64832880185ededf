"""A real object store for tests: versitygw, which speaks S3 and keeps objects as files.

    with Gateway(tmp_path) as gateway:
        bucket = gateway.bucket("images")
        with S3Registry(tmp_path, bucket=bucket) as registry:
            registry.push("app", "1", images.image([...]))
        assert bucket.requests() == {"ListObjectsV2": 1}

An object lies at `<folder>/<bucket>/<key>`, so a test can plant, age or remove one as a file. A
file that was planted has no ETag, and its time is that of the last change. Requests are counted by
the gateway's own access log.
"""

import contextlib
import http.client
import json
import os
import re
import secrets
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, Unpack

from tests.support.missing import lack
from tests.support.registry import (
    PEERS,
    START_SECONDS,
    STOP_SECONDS,
    DockerRegistry,
    Options,
    PortTakenError,
    Program,
    free_port,
)

if TYPE_CHECKING:
    from tests.support.authority import Authority

ACCESS_KEY: Final = "test-access-key"
SECRET_KEY: Final = "test-secret-key-0123456789"
REGION: Final = "us-east-1"
MARKER: Final = "user.delete-marker"
"""What the gateway notes beside the file of an object that a delete marker hides."""
LOG_SECONDS: Final = 10.0
_REQUEST: Final = re.compile(r"^\S+ (\S+) \[[^]]*\] \S+ \S+ \S+ s3_(\w+) (\S+) ", re.MULTILINE)


@dataclass(frozen=True)
class Request:
    """One request, from the access log; `key` is "-" for one about the bucket."""

    bucket: str
    operation: str
    key: str


class Gateway:
    """One versitygw process; everything of it is below `base`."""

    program = str(PEERS / "versitygw")

    def __init__(self, base: Path, *, versions: bool = False) -> None:
        if not os.access(self.program, os.X_OK):
            lack("versitygw not found; `make setup` builds it where there is Go")
        self.folder = base / "buckets"
        self.folder.mkdir(parents=True)
        self._versions = base / "versions" if versions else None
        self.readonly = False
        self.authority: Authority | None = None  # of its certificate; without one it speaks http
        self._users = base / "users"
        self._users.mkdir()
        self._log = base / "access.log"
        self._output = base / "gateway.log"
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http{'s' if self.authority else ''}://127.0.0.1:{self._port}"

    @property
    def versions(self) -> bool:
        """Whether its buckets keep versions."""
        return self._versions is not None

    def bucket(self, name: str) -> "Bucket":
        (self.folder / name).mkdir()
        if self._versions is not None:
            os.setxattr(self.folder / name, "user.versioning", b"\x01")
        return Bucket(self, name)

    def add_user(self, access_key: str, secret_key: str) -> None:
        """Let another ask, who may do what policies of buckets say, and nothing else."""
        admin = ["admin", "-a", ACCESS_KEY, "-s", SECRET_KEY, "-er", self.endpoint, "-r", REGION]
        user = ["create-user", "-a", access_key, "-s", secret_key, "-r", "user"]
        subprocess.run([self.program, *admin, *user], check=True, capture_output=True)

    def requests(self) -> list[Request]:
        """Every request since the first start; the log may come a moment late."""
        mark = f"mark-{secrets.token_hex(8)}"
        self._ask(f"/{mark}")
        deadline = time.monotonic() + LOG_SECONDS
        while mark not in (text := self._log.read_text(encoding="utf-8")):
            if time.monotonic() > deadline:
                raise RuntimeError("versitygw does not log its requests")
            time.sleep(0.01)
        return [Request(m[1], m[2], m[3]) for m in _REQUEST.finditer(text)]

    def start(self) -> Self:
        if self._port:
            self._serve()
            return self
        for _ in range(20):
            self._port = free_port()
            with contextlib.suppress(PortTakenError):
                self._serve()
                return self
        raise RuntimeError("no free port found for versitygw")

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

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _serve(self) -> None:
        address = f"127.0.0.1:{self._port}"
        log = ["--access-log", str(self._log), "--quiet", "--region", REGION]
        log += ["--readonly"] if self.readonly else []
        log += ["--iam-dir", str(self._users)]
        if self.authority is not None:
            log += ["--cert", str(self.authority.certificate), "--key", str(self.authority.key)]
        kind = ["posix"]
        if self._versions is not None:
            self._versions.mkdir(exist_ok=True)
            kind += ["--versioning-dir", str(self._versions)]
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [self.program, "--port", address, *log, *kind, str(self.folder)],
                env={
                    "PATH": os.environ["PATH"],
                    "ROOT_ACCESS_KEY": ACCESS_KEY,
                    "ROOT_SECRET_KEY": SECRET_KEY,
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None:
                self._process = None
                said = self._output.read_text(encoding="utf-8", errors="replace")
                if "address already in use" in said:
                    raise PortTakenError(address)
                raise RuntimeError(f"versitygw ended:\n{said}")
            if time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"versitygw does not answer on {address}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            return self._ask("/") > 0
        except (OSError, http.client.HTTPException):
            return False

    def _ask(self, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        if self.authority is not None:
            trusting = ssl.create_default_context(cafile=self.authority.file)
            connection = http.client.HTTPSConnection(
                "127.0.0.1", self._port, timeout=10, context=trusting
            )
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()


_LIMITED: Final = ("limited-access-key", "limited-secret-key")


@dataclass(frozen=True)
class Bucket:
    """A bucket of a gateway, whose objects are the files below `folder`.

    Those of other stores have the same methods, as far as their tests need them
    (`tests/support/stores.py`).
    """

    driver: ClassVar[str] = "s3"
    grace: ClassVar[tuple[str, ...]] = ()
    """What a collection needs to be told so that what is older than :meth:`age` says may go."""

    gateway: Gateway
    name: str

    @property
    def folder(self) -> Path:
        return self.gateway.folder / self.name

    @property
    def settings(self) -> dict[str, Any]:
        """The keys of Distribution's s3 driver."""
        return {
            "accesskey": ACCESS_KEY,
            "secretkey": SECRET_KEY,
            "region": REGION,
            "regionendpoint": self.gateway.endpoint,
            "forcepathstyle": True,
            "secure": False,
            "bucket": self.name,
        }

    @property
    def place(self) -> str:
        """What Jettison calls it."""
        return f"s3://{self.name}"

    def write(self, key: str, content: bytes) -> None:
        """Write an object by hand, without an ETag, and in place of what may be there."""
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def requests(self) -> Counter[str]:
        """How many requests of each kind there were about the bucket."""
        return Counter(one.operation for one in self.gateway.requests() if one.bucket == self.name)

    def objects(self) -> dict[str, bytes]:
        """All objects: nothing but tests of what may not change needs it."""
        found: dict[str, bytes] = {}
        for path in self._paths():
            with contextlib.suppress(FileNotFoundError):  # it was removed since
                if path.is_file() and MARKER not in os.listxattr(path):
                    found[str(path.relative_to(self.folder))] = path.read_bytes()
        return found

    def age(self, seconds: float) -> None:
        """Make everything in it older."""
        for path in sorted(self._paths(), reverse=True):
            with contextlib.suppress(FileNotFoundError):  # as above
                status = path.stat()
                os.utime(path, (status.st_atime - seconds, status.st_mtime - seconds))

    def _paths(self) -> Iterator[Path]:
        """All files and folders; unlike `rglob` it takes those that go meanwhile."""
        for folder, folders, files in os.walk(self.folder):
            yield from (Path(folder, name) for name in (*folders, *files))


class AskedBucket(Bucket):
    """A bucket that is kept in no folder here: its objects are those that its `store` has."""

    @property
    def store(self) -> Any:
        """What obstore asks it by."""
        raise NotImplementedError

    def write(self, key: str, content: bytes) -> None:
        self.store.put(key, content)

    def objects(self) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for key in [one["path"] for page in self.store.list() for one in page]:
            with contextlib.suppress(FileNotFoundError):  # it was removed since
                found[key] = bytes(self.store.get(key).bytes())
        return found


class LimitedBucket(Bucket):
    """A bucket as one sees it who has the rights that a policy gives, and the store enforces."""

    def __init__(self, bucket: Bucket, policy: dict[str, Any]) -> None:
        super().__init__(bucket.gateway, bucket.name)
        self.gateway.add_user(*_LIMITED)
        # A bucket that was made as a folder has no owner, and a copy needs one.
        os.setxattr(self.folder, "user.acl", json.dumps({"Owner": ACCESS_KEY}).encode())
        self.allow(policy)

    def allow(self, policy: dict[str, Any]) -> None:
        """Give these rights in place of those before."""
        said = [one | {"Principal": _LIMITED[0]} for one in policy["Statement"]]
        document = json.dumps(policy | {"Statement": said})
        os.setxattr(self.folder, "user.policy", document.encode())

    @property
    def settings(self) -> dict[str, Any]:
        """The keys of Distribution's s3 driver, for that one."""
        access_key, secret_key = _LIMITED
        return super().settings | {"accesskey": access_key, "secretkey": secret_key}


class S3Registry(DockerRegistry):
    """Debian's docker-registry with its storage in a bucket, whose folder is its `root`."""

    in_bucket: ClassVar[bool] = True

    def __init__(self, base: Path, bucket: Bucket, **options: Unpack[Options]) -> None:
        super().__init__(base, **options)
        self.bucket = bucket
        self.root = getattr(bucket, "folder", self.root)

    @contextlib.contextmanager
    def at_rest(self) -> Iterator[tuple[str, ...]]:
        was_running = self.running
        self.stop()
        yield ("--assume-quiescent",)
        if was_running:
            self.start()

    @property
    def storage(self) -> Path:
        return self.config

    @property
    def location(self) -> str:
        return self.bucket.place

    def is_there(self, file: Path) -> bool:
        """Whether an object is there, which a delete marker does not remove."""
        try:
            return MARKER not in os.listxattr(file)
        except FileNotFoundError:
            return False

    def _settings(self) -> dict[str, Any]:
        found = super()._settings()
        storage = {name: value for name, value in found["storage"].items() if name != "filesystem"}
        found["storage"] = {
            self.bucket.driver: self.bucket.settings,
            "redirect": {"disable": True},
            **storage,
        }
        return found


class S3Distribution3(S3Registry):
    """CNCF Distribution 3 with its storage in a bucket."""

    program: ClassVar[Program] = "distribution-3"
    command: ClassVar[tuple[str, ...]] = (str(PEERS / "registry"),)


class S3Jettison(S3Registry):
    """`jettison serve` with its storage in a bucket."""

    program: ClassVar[Program] = "jettison"
    command: ClassVar[tuple[str, ...]] = (sys.executable, "-m", "jettison")


S3_REGISTRIES: Final = (S3Registry, S3Distribution3)
IN_BUCKETS: Final[Mapping[Program, type[S3Registry]]] = {
    one.program: one for one in (S3Registry, S3Jettison)
}
"""The programs of `REGISTRIES`, on buckets."""
