"""Images in use as programs print them in JSON.

Kubernetes: pods with what runs in them, and what starts pods: a deployment that is scaled to zero
or a cron job uses its images too. Docker, nerdctl and Podman: ``ps``, ``inspect`` of containers and
images, services of a swarm. CRI: ``crictl ps`` and ``crictl images``. Anything else is an error.
The fields are those of the Kubernetes API reference (core/v1, apps/v1, batch/v1), of the Docker
Engine API, of Podman's ``ListContainer`` and of the CRI's ``Image`` and ``Container``.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, TypeVar

import msgspec

from jettison.errors import InvalidDocument
from jettison.model import strict_json
from jettison.model.printable import printable

__all__ = ["Use", "uses_of"]

_LARGEST: Final = 512 * 1024 * 1024
"""UTF-16 becomes longer in UTF-8."""

_MOST_PARTS: Final = 30_000_000
_T = TypeVar("_T")

_ABSENT: Final = frozenset({"", "<none>", "<none>:<none>", "<none>@<none>"})
"""How Docker and Podman write that an image has no name or no digest."""


class Use(NamedTuple):
    """Who uses an image, and the texts that name it: references, digests, IDs.

    ``alone``: an ID is enough, since nothing else can be had.
    """

    user: str
    texts: tuple[str, ...]
    alone: bool = False


class _Metadata(msgspec.Struct, rename={"more": "continue"}):
    name: str = ""
    namespace: str = ""
    more: str | None = None


class _Container(msgspec.Struct):
    name: str = ""
    image: str | None = None
    imageID: str | None = None  # noqa: N815 - as Kubernetes writes it


class _ImageVolume(msgspec.Struct):
    reference: str = ""


class _Volume(msgspec.Struct):
    name: str = ""
    image: _ImageVolume | None = None


class _PodSpec(msgspec.Struct, rename="camel"):
    containers: list[_Container]
    init_containers: list[_Container] | None = None
    ephemeral_containers: list[_Container] | None = None
    volumes: list[_Volume] | None = None


class _PodStatus(msgspec.Struct, rename="camel"):
    container_statuses: list[_Container] | None = None
    init_container_statuses: list[_Container] | None = None
    ephemeral_container_statuses: list[_Container] | None = None


class _Pod(msgspec.Struct):
    spec: _PodSpec
    status: _PodStatus | None = None


class _Template(msgspec.Struct):
    spec: _PodSpec


class _Templated(msgspec.Struct):
    template: _Template


class _Workload(msgspec.Struct):
    spec: _Templated


class _Scheduled(msgspec.Struct, rename="camel"):
    job_template: _Workload


class _CronJob(msgspec.Struct):
    spec: _Scheduled


class _Object(msgspec.Struct):
    kind: str = ""
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    items: list[msgspec.Raw] | None = None


_WORKLOADS: Final = frozenset(
    {
        "Deployment",
        "ReplicaSet",
        "StatefulSet",
        "DaemonSet",
        "Job",
        "ReplicationController",
        "DeploymentConfig",  # OpenShift
        "Rollout",  # Argo
    }
)
_WITHOUT_IMAGES: Final = frozenset({"Service", "HorizontalPodAutoscaler"})
"""What ``kubectl get all`` prints beside."""


class _Config(msgspec.Struct, rename="pascal"):
    image: str = ""


class _ManifestDescriptor(msgspec.Struct):
    digest: str = ""


class _Docker(msgspec.Struct, rename="pascal"):
    """A container, an image or a service, as ``ps``, ``ls`` and ``inspect`` of it print it."""

    image: str = ""
    name: str | None = None
    names: str | list[str] | None = None
    image_id: str = msgspec.field(default="", name="ImageID")
    image_name: str = ""
    image_digest: str = ""
    image_manifest_descriptor: _ManifestDescriptor | None = None
    id: str = ""
    upper_id: str = msgspec.field(default="", name="ID")
    config: _Config | None = None
    repo_tags: list[str] | None = None
    repo_digests: list[str] | None = None
    is_infra: bool = False


class _ContainerSpec(msgspec.Struct, rename="pascal"):
    image: str = ""


class _Task(msgspec.Struct, rename="pascal"):
    container_spec: _ContainerSpec


class _ServiceSpec(msgspec.Struct, rename="pascal"):
    name: str
    task_template: _Task


class _Service(msgspec.Struct, rename="pascal"):
    spec: _ServiceSpec
    previous_spec: _ServiceSpec | None = None


class _CriImage(msgspec.Struct, rename="camel"):
    id: str
    repo_tags: list[str] | None = None
    repo_digests: list[str] | None = None


class _CriName(msgspec.Struct, rename="camel"):
    image: str = ""
    user_specified_image: str = ""


class _CriMetadata(msgspec.Struct):
    name: str = ""


class _CriContainer(msgspec.Struct, rename="camel"):
    image: _CriName
    metadata: _CriMetadata
    image_ref: str = ""
    image_id: str = ""


class _Cri(msgspec.Struct):
    images: list[_CriImage] | None = None
    containers: list[_CriContainer] | None = None


def uses_of(raw: bytes) -> Iterator[Use]:
    """Yield who uses which images, from one JSON document or from one on each line.

    Raises :class:`~jettison.errors.InvalidDocument` for what is not known.
    """
    for document in _documents(raw):
        if bytes(document).lstrip()[:1] == b"[":
            for one in _as(document, list[msgspec.Raw]):
                yield from _uses(one)
        else:
            yield from _uses(document)


def _documents(raw: bytes) -> list[msgspec.Raw]:
    try:
        return [_read(raw)]
    except InvalidDocument as error:
        lines = [line for line in raw.split(b"\n") if line.strip()]
        if len(lines) < 2 or strict_json.parts_of(raw) > _MOST_PARTS:  # noqa: PLR2004 - several
            raise
        try:
            return [_read(line) for line in lines]
        except InvalidDocument:
            hint = "Give it whole, and several lists each with an --in-use."
            raise InvalidDocument(f"this is no JSON: {error.message}", hint=hint) from None


def _read(raw: bytes) -> msgspec.Raw:
    return strict_json.decode(raw, msgspec.Raw, max_bytes=_LARGEST, max_parts=_MOST_PARTS)


def _as(raw: msgspec.Raw, shape: type[_T]) -> _T:
    try:
        return strict_json.decode(bytes(raw), shape, max_bytes=_LARGEST)
    except InvalidDocument as error:
        raise InvalidDocument(f"it has an unexpected form: {error.message}") from None


def _uses(raw: msgspec.Raw) -> Iterable[Use]:
    names = _as(raw, dict[str, msgspec.Raw])
    if "kind" in names:
        return _kubernetes(raw)
    if names.keys() & {"images", "containers"}:
        return _cri(_as(raw, _Cri))
    if "Spec" in names:
        return _service(_as(raw, _Service))
    if "RepoTags" in names:
        return _image(_as(raw, _Docker))
    if "Image" in names:
        return _container(_as(raw, _Docker))
    told = printable(", ".join(sorted(names)[:6])[:200])
    raise InvalidDocument(f"there is JSON of an unknown kind, with {told or 'nothing in it'}")


# Kubernetes.


def _kubernetes(raw: msgspec.Raw, kind: str = "") -> Iterator[Use]:
    found = _as(raw, _Object)
    kind = found.kind or kind
    where = "/".join(filter(None, (found.metadata.namespace, found.metadata.name)))
    user = printable(f"{kind.lower()} {where}"[:400])
    if found.items is not None:
        if found.metadata.more:
            message = "the list goes on: this is only its first part"
            raise InvalidDocument(message, hint="Ask for all at once, as kubectl does.")
        for item in found.items:
            yield from _kubernetes(item, kind.removesuffix("List"))
    elif kind == "Pod":
        pod = _as(raw, _Pod)
        yield from _pod(user, pod.spec, pod.status)
    elif kind in _WORKLOADS:
        yield from _pod(user, _as(raw, _Workload).spec.template.spec)
    elif kind == "CronJob":
        yield from _pod(user, _as(raw, _CronJob).spec.job_template.spec.template.spec)
    elif kind not in _WITHOUT_IMAGES:
        message = f"{user} is of a kind whose images are not known"
        raise InvalidDocument(message, hint="List what it starts: pods, deployments, cron jobs.")


def _pod(user: str, spec: _PodSpec, status: _PodStatus | None = None) -> Iterator[Use]:
    running: dict[str, list[str]] = {}
    status = status or _PodStatus()
    for one in (
        *(status.container_statuses or ()),
        *(status.init_container_statuses or ()),
        *(status.ephemeral_container_statuses or ()),
    ):
        running.setdefault(one.name, []).extend(filter(None, (one.image, one.imageID)))
    for one in (
        *spec.containers,
        *(spec.init_containers or ()),
        *(spec.ephemeral_containers or ()),
    ):
        yield Use(user, _given([one.image or "", *running.pop(one.name, ())]))
    for texts in running.values():
        yield Use(user, _given(texts))
    for volume in spec.volumes or ():
        if volume.image is not None and volume.image.reference:
            yield Use(user, (volume.image.reference,))


# Docker, nerdctl, Podman.


def _container(one: _Docker) -> Iterator[Use]:
    texts = [one.image, one.image_id, one.image_name, one.image_digest]
    if one.config is not None:
        texts.append(one.config.image)
    if one.image_manifest_descriptor is not None:
        texts.append(one.image_manifest_descriptor.digest)
    names = one.names if isinstance(one.names, str) else ", ".join(one.names or ())
    name = one.name or names or one.id or one.upper_id
    found = _given(texts)
    if found or not one.is_infra:  # Podman makes the first container of a pod without an image
        yield Use(printable(f"container {name.removeprefix('/')}"[:400]), found)


def _image(one: _Docker) -> Iterator[Use]:
    names = one.names if isinstance(one.names, list) else ()  # where Podman has its tags
    texts = _given([*(one.repo_tags or ()), *names, *(one.repo_digests or ()), one.id])
    yield Use(printable(f"image {texts[0] if texts else ''}"[:400]), texts, alone=True)


def _service(one: _Service) -> Iterator[Use]:
    # A swarm rolls back to the previous one.
    for spec in (one.spec, one.previous_spec):
        if spec is not None:
            image = spec.task_template.container_spec.image
            yield Use(printable(f"service {spec.name}"[:400]), _given([image]))


# The container runtime interface.


def _cri(found: _Cri) -> Iterator[Use]:
    for image in found.images or ():
        texts = _given([*(image.repo_tags or ()), *(image.repo_digests or ()), image.id])
        yield Use(printable(f"image {texts[0] if texts else ''}"[:400]), texts, alone=True)
    for one in found.containers or ():
        texts = _given(
            [one.image.user_specified_image, one.image.image, one.image_ref, one.image_id]
        )
        yield Use(printable(f"container {one.metadata.name}"[:400]), texts)


def _given(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text not in _ABSENT))
