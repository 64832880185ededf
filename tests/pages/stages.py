"""What pages find around them: a registry of some program with images in it, or nothing.

`distribution-2 + cache + signatures` is a program, settings of it, and more images. It is made anew
for each page, so what a page removes is there for the next one.

`systemctl` and `docker compose` are stand-ins: they stop and start the page's registry, a real one,
and know nothing else.
"""

import functools
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from jettison.demo.images import (
    Image,
    Index,
    Layer,
    cosign_tag,
    image,
    index,
    layer,
    random_bytes,
    signature,
)
from tests.pages.shell import Shell
from tests.support.buckets import Gateway, S3Jettison, S3Registry
from tests.support.registry import (
    Distribution3,
    DockerRegistry,
    JettisonRegistry,
    Options,
)

__all__ = ["on_stage"]

DAY: Final = 86400
HOUR: Final = 3600
BUILT: Final = 1_790_000_000

_FOLDERS: Final = (
    "/var/lib/registry",
    "/srv/registry/data",
    "/volume1/docker/registry/data",
    "/var/lib/docker/volumes/registry_data/_data",
)
_FILES: Final = (
    "/etc/docker/registry/config.yml",
    "/srv/registry/config.yml",
    "/volume1/docker/registry/config.yml",
    "registry.yml",
)
_STORE: Final = "http://s3.local:9000"
_HOSTS: Final = ("localhost:5000", "registry.example.com", "nas.local:5000", "registry:5000")

_PROGRAMS: Final[Mapping[str, type[DockerRegistry]]] = {
    "distribution-2": DockerRegistry,
    "distribution-3": Distribution3,
    "jettison": JettisonRegistry,
    "bucket": S3Registry,
    "bucket-jettison": S3Jettison,
}
_SETTINGS: Final[Mapping[str, Options]] = {
    "no deletion": {"delete": None},
    "cache": {"cache": "inmemory"},
    "read-only": {"readonly": True},
    "login": {"htpasswd": ("alice", "secret")},
}


@functools.cache
def _part(seed: str, kilobytes: int) -> Layer:
    return layer({seed: random_bytes(seed, kilobytes * 1000)})


def _image(seed: str, kilobytes: int, days: float, **more: Any) -> Image:
    # Counted from a day that is always the same: so are digests, and the order of what is listed.
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(BUILT - days * DAY))
    return image([_part("base", 2400), _part(seed, kilobytes)], created=made, **more)


_SAMPLE: Final = (
    # repository, tags, kilobytes of its own, days ago
    ("team/app", ("1.0",), 1200, 90),
    ("team/app", ("pr-101",), 900, 40),
    ("team/web", ("v1",), 700, 35),
    ("team/app", ("1.1",), 1300, 30),
    ("team/app", ("pr-102",), 900, 20),
    ("team/app", ("1.2", "latest"), 1400, 9),
    ("team/app", ("pr-103",), 950, 3),
    ("team/web", ("v2", "latest"), 800, 2),
)


def _push_sample(registry: DockerRegistry) -> None:
    """Push the images that every page finds, the oldest first, each with its age."""
    later = [days for *_, days in _SAMPLE[1:]] + [0]
    for (repository, tags, kilobytes, days), then in zip(_SAMPLE, later, strict=True):
        made = _image(f"{repository}:{tags[0]}", kilobytes, days)
        for tag in tags:
            registry.push(repository, tag, made)
        registry.age((days - then) * DAY)


def _platforms(registry: DockerRegistry) -> None:
    registry.push("team/tools", "3.1", _multi())
    registry.age(4 * DAY)


def _multi() -> Index:
    members = [_image(f"tools-{one}", 600, 4, architecture=one) for one in ("amd64", "arm64")]
    notes = [
        _attestation(one, {"vnd.docker.reference.type": "attestation-manifest"}) for one in members
    ]
    return index([*members, *notes])


def _attestation(subject: Image, annotations: Mapping[str, str]) -> Image:
    said = {**annotations, "vnd.docker.reference.digest": subject.digest}
    return image(
        [_part(f"provenance-{subject.digest[-8:]}", 12)],
        architecture="unknown",
        os="unknown",
        annotations=said,
    )


def _signatures(registry: DockerRegistry) -> None:
    """Sign one image that is there, and leave the signature of one that is gone."""
    there = _image("signed", 500, 2)
    registry.push("team/signed", "1.0", there)
    registry.push("team/signed", cosign_tag(there.digest), signature(there))
    gone = _image("signed-before", 500, 5)
    registry.push("team/signed", cosign_tag(gone.digest), signature(gone))
    registry.age(2 * DAY)


def _garbage(registry: DockerRegistry) -> None:
    """Leave what others left: a tag that moved on, and a manifest that a client deleted."""
    registry.push("team/app", "nightly", _image("night-1", 1100, 12))
    registry.age(3 * DAY)
    registry.push("team/app", "nightly", _image("night-2", 1150, 9))
    deleted = registry.push("team/app", "dropped", _image("dropped", 800, 9))
    registry.delete("team/app", deleted)
    registry.age(2 * HOUR)


def _emptied(registry: DockerRegistry) -> None:
    """Delete all that a repository had."""
    deleted = registry.push("team/old", "1.0", _image("old", 600, 20))
    registry.delete("team/old", deleted)
    registry.age(2 * HOUR)


_EXTRAS: Final[Mapping[str, Callable[[DockerRegistry], None]]] = {
    "platforms": _platforms,
    "signatures": _signatures,
    "garbage": _garbage,
    "emptied": _emptied,
}


@contextmanager
def on_stage(said: str, folder: Path, warm: Path, page: str) -> Iterator[Shell]:
    """Set up what a page asks for, and yield a shell there. ``page`` is its text."""
    program, *more = (one.strip() for one in said.split("+"))
    with ExitStack() as stack:
        if program == "empty":
            yield stack.enter_context(Shell(folder / "shell", warm, {}, {}))
            return
        registry = _registry(stack, program, more, folder)
        control = stack.enter_context(_controlled(registry, folder / "control"))
        names = _names(registry, page)
        (folder / "textfile").mkdir()
        names["/var/lib/node_exporter/textfile"] = str(folder / "textfile")
        yield stack.enter_context(Shell(folder / "shell", warm, names, control))


def _registry(stack: ExitStack, program: str, more: Sequence[str], folder: Path) -> DockerRegistry:
    """Start a registry, fill it, and set it as it is to be: what is there was put there before."""
    options: Options = {"delete": True}
    for one in more:
        if one in _SETTINGS:
            options.update(_SETTINGS[one])
        elif one not in _EXTRAS:
            raise ValueError(f"no stage has {one!r}")
    kind = _PROGRAMS[program]
    first: Options = {**options, "delete": True, "readonly": False}
    if issubclass(kind, S3Registry):
        gateway = stack.enter_context(Gateway(folder / "gateway"))
        registry: DockerRegistry = kind(folder, gateway.bucket("images"), **first)
    else:
        registry = kind(folder, **first)
    stack.enter_context(registry)
    _push_sample(registry)
    for one in more:
        if one in _EXTRAS:
            _EXTRAS[one](registry)
    registry.age(2 * HOUR)
    if not options["delete"] or options.get("readonly"):
        registry.reconfigure(**options)
    return registry


def _names(registry: DockerRegistry, page: str) -> dict[str, str]:
    """What a page calls the registry and its parts: first the name that it uses most."""
    real = (
        (_HOSTS, registry.host),
        (_FOLDERS, str(registry.root)),
        (_FILES, str(registry.config)),
    )
    names = dict[str, str]()
    for among, place in real:
        used = [one for one in among if one in page] or among[:1]
        names |= dict.fromkeys(sorted(used, key=page.count, reverse=True), place)
    if isinstance(registry, S3Registry):
        names[_STORE] = registry.bucket.gateway.endpoint
    return names


_STAND_IN: Final = """\
#!{python} -SE
import socket, sys
words = sys.argv[1:]
known = {known!r}
if " ".join(words) not in known:
    sys.exit(f"a stand-in that knows no {{words}}")
with socket.socket(socket.AF_UNIX) as asking:
    asking.connect({path!r})
    asking.sendall(known[" ".join(words)].encode())
    sys.exit(asking.recv(4000).decode() or None)
"""


@contextmanager
def _controlled(registry: DockerRegistry, path: Path) -> Iterator[dict[str, str]]:
    """Yield the programs that stop and start the registry."""
    verbs: Final = {
        "stop": registry.stop,
        "start": registry.start,
        "restart": registry.restart,
    }
    place = Path(f"/tmp/{path.parent.name}-{registry.port}.sock")  # noqa: S108 - sockets have short names
    with suppress(FileNotFoundError):
        place.unlink()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(place))
    listening.listen()

    def serve() -> None:
        while True:
            try:
                asked, _ = listening.accept()
            except OSError:
                return
            with asked:
                verb = asked.recv(100).decode()
                if verb not in verbs:
                    return
                try:
                    verbs[verb]()
                except RuntimeError as error:
                    asked.sendall(str(error).encode()[:4000])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield {
            "systemctl": _stand_in(place, {f"{one} docker-registry": one for one in verbs}),
            "docker": _stand_in(
                place,
                {f"compose {one} registry": one for one in verbs}
                | {"compose up -d registry": "restart"},
            ),
        }
    finally:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(place))
            asking.sendall(b"end")
        thread.join()
        listening.close()
        place.unlink()


def _stand_in(path: Path, known: dict[str, str]) -> str:
    return _STAND_IN.format(python=sys.executable, path=str(path), known=known)
