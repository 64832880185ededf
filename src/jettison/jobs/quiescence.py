"""Evidence for whether a registry may be writing to its storage.

Without a grace period a collection cannot tell garbage from a push in progress. It is safe only
while the registry is stopped or read-only, and the running process may have been started with
another configuration. So the address in the configuration is asked, and the storage, its journal
and the processes of the machine must not contradict.
"""

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import msgspec

from jettison.collector.options import CollectOptions
from jettison.errors import NotQuiescent, PartlyDone
from jettison.model.digest import Digest
from jettison.model.preconditions import BUCKET_HEADER
from jettison.storage.protocol import Storage, stamp_at

if TYPE_CHECKING:
    import http.client

    from jettison.configuration import Configuration

__all__ = [
    "Evidence",
    "describe_beside",
    "is_heeded",
    "probe_address",
    "quiesced",
    "require_no_memory",
    "require_quiescent",
]

TIMEOUT: Final = 5.0
"""Seconds to wait for a connection and for an answer."""

_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)
_IMPOSSIBLE: Final = Digest("sha256:" + "0" * 64)
_EVERYWHERE: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not listened on
_NOBODY_BEHIND: Final = frozenset({502, 503, 504})
_STOP: Final = "Stop the registry, or set storage.maintenance.readonly.enabled: true and restart it"
_KNOW_BETTER: Final = "--assume-quiescent if you know better."
_HINT: Final = f"{_STOP}, or leave out --now and --grace 0; {_KNOW_BETTER}"
_ALWAYS: Final = f"{_STOP}; {_KNOW_BETTER}"


class Evidence(msgspec.Struct, frozen=True):
    """What is known about a registry beside its configuration.

    ``storage`` is examined as of ``now`` (seconds since the epoch), ``addresses`` are others at
    which it was used. ``quiesced``: a command has just stopped it, or its pushes.
    """

    storage: Storage
    now: float
    addresses: tuple[str, ...] = ()
    quiesced: bool = False


def require_quiescent(
    configuration: "Configuration | None",
    timeout: float = TIMEOUT,
    evidence: Evidence | None = None,
) -> None:
    """Return if it is certain that there are no pushes into the storage.

    A running registry is asked to delete a manifest that cannot exist; only a read-only registry
    refuses that with its own kind of 405, before it looks whether deletion is enabled. That nothing
    listens at ``http.addr`` shows little: it may run in a container, or with another configuration.
    So ``evidence`` must not contradict: no process writes to the tree, nothing answers at its other
    addresses, and nothing in the tree is younger than the usual grace period, unless a command has
    just stopped the registry. For a bucket that is not enough, as any machine may serve it. Raises
    :class:`~jettison.errors.NotQuiescent` in every other case, also where there is no configuration
    to take the address from.
    """
    hides = evidence is None or evidence.storage.features.atomic_rename
    hint = _HINT if hides else _ALWAYS
    if configuration is None:
        message = "without the registry's configuration nobody knows whether a push is under way"
        raise _refusal(message, f"Give the configuration instead of the folder. {hint}")
    address = probe_address(configuration)
    if address is None:
        found = configuration.address or "no http.addr"
        raise _refusal(f"{configuration.path}: {found} cannot be asked", hint)
    from http.client import HTTPException  # noqa: PLC0415 - see `_ask`

    host, port = address
    try:
        readonly = _ask(configuration, host, port, timeout)
    except ConnectionRefusedError:
        readonly = None
    except (OSError, HTTPException) as error:
        message = f"something listens at {host}:{port} and cannot be asked: {error}"
        raise _refusal(message, hint) from None
    if readonly is False:
        raise _refusal(f"the registry at {host}:{port} takes pushes", hint)
    if evidence is not None:
        stopped = f"nothing listens at {host}:{port}" if readonly is None else "it is read-only"
        for contradiction in _contradictions(configuration, evidence, timeout, sure=bool(readonly)):
            raise _refusal(f"{stopped}, but {contradiction}", hint)


def require_no_memory(configuration: "Configuration | None", reason: NotQuiescent) -> None:
    """Raise :class:`~jettison.errors.NotQuiescent` for a registry that remembers blobs.

    It accepts manifests by what it remembers, however long ago that went, so that no time of
    settling is enough. ``reason`` is why it has to be expected to take pushes.
    """
    cache = None if configuration is None else configuration.storage.cache
    if cache is not None:
        message = f"{reason.message}, and it remembers blobs (storage.cache: {cache})"
        hint = f"Remove storage.cache and restart the registry. Or: {_STOP}; {_KNOW_BETTER}"
        raise _refusal(f"{message}: a push that relies on what goes would be accepted", hint)


def describe_beside(storage: Storage, configuration: "Configuration | None") -> str | None:
    """Return how a bucket is collected beside a registry that takes pushes; None for a disk."""
    if storage.features.atomic_rename:
        return None
    cache = None if configuration is None else configuration.storage.cache
    if configuration is not None and configuration.storage.readonly:
        return "the registry is read-only: gc is exact, and at once"
    if cache is not None:
        return (
            f"gc is refused while the registry takes pushes, since it remembers blobs "
            f"(storage.cache: {cache}): stop it, make it read-only, or remove that key"
        )
    how = (
        "hides what goes with delete markers, and removes the markers of"
        if storage.keeps_removed()
        else "lets the store copy what goes to jettison/aside, and copies back"
    )
    return (
        f"beside a registry that takes pushes gc {how} what is pushed within five minutes "
        "(--settle); beside jettison serve, or a registry that is stopped or read-only, it is exact"
    )


def is_heeded(
    configuration: "Configuration | None", addresses: tuple[str, ...], timeout: float = TIMEOUT
) -> bool:
    """Whether our own server of the same bucket answers, and nothing else at ``addresses``.

    It heeds what a collection announces in a bucket, so that one may go on beside it.
    """
    bucket = None if configuration is None else configuration.storage.bucket
    asked = None if configuration is None else probe_address(configuration)
    if configuration is None or bucket is None or asked is None:
        return False
    from http.client import HTTPException  # noqa: PLC0415 - see `_ask`

    each = {asked, *(found for name in addresses if (found := _parse(name)) is not None)}
    ours: set[bool] = set()
    for host, port in each:
        try:
            served = _probe(configuration, host, port, timeout).headers.get(BUCKET_HEADER)
        except ConnectionRefusedError:
            continue
        except (OSError, HTTPException):
            return False
        ours.add(served == bucket.identity)
    return ours == {True}


def _contradictions(
    configuration: "Configuration", evidence: Evidence, timeout: float, *, sure: bool
) -> Iterator[str]:
    """Yield signs that a registry is not stopped; ``sure``: it said that it is read-only."""
    asked = probe_address(configuration)
    for name in evidence.addresses:
        address = _parse(name)
        if address is not None and address != asked and _answers(address, timeout):
            yield f"it was used at {name}, and something answers there"
    if sure or evidence.quiesced:
        return
    if not evidence.storage.features.atomic_rename:
        # Not like a folder, which is mostly served by this machine.
        yield f"any other machine may serve {evidence.storage.location}"
    for process in evidence.storage.writers(str(configuration.path)):
        yield f"process {process.pid} is at work: {process.clue}"
    young = _youngest(evidence.storage, evidence.now)
    if young is not None:
        yield f"{young}, within the last hour: the registry may be running elsewhere"


def _youngest(storage: Storage, now: float) -> str | None:
    """Return the first content found that was pushed a short time ago."""
    since = CollectOptions().grace
    idle = stamp_at(now - since)
    for name in storage.repositories():
        with storage.repository(name) as repository:
            if any(one.moved > idle for one in repository.uploads()):
                return f"an upload into {name} moved"
            # An upload that became a blob has left its trace here.
            if (repository.uploads_stamp() or 0) > idle:
                return f"something was uploaded into {name}"
    for blob in storage.blobs():
        if blob.stamp > idle:
            return f"blob {Digest.from_binary(blob.digest).short} was written or asked for"
    return None


def _answers(address: tuple[str, int], timeout: float) -> bool:
    """Whether something other than a gateway without a registry answers there."""
    import http.client  # noqa: PLC0415 - as in `_ask`

    connection = http.client.HTTPConnection(*address, timeout=timeout)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status not in _NOBODY_BEHIND
    except http.client.HTTPException:
        return True  # it speaks TLS, say
    except OSError:
        return False
    finally:
        connection.close()


def _refusal(message: str, hint: str) -> NotQuiescent:
    return NotQuiescent(message, hint=hint, again=("--assume-quiescent",))


def probe_address(configuration: "Configuration") -> tuple[str, int] | None:
    """Return the host and port of a registry with this configuration."""
    if configuration.http.net != "tcp" or not configuration.address:
        return None
    return _parse(configuration.address)


def _parse(text: str) -> tuple[str, int] | None:
    host, colon, port = text.rpartition(":")
    if not colon:
        return None
    host = host.removeprefix("[").removesuffix("]")
    try:
        return _EVERYWHERE.get(host, host), socket.getservbyname(port)
    except OSError:
        return (_EVERYWHERE.get(host, host), int(port)) if port.isdecimal() else None


def _ask(configuration: "Configuration", host: str, port: int, timeout: float) -> bool:
    """Return whether the registry is read-only."""
    import http.client  # noqa: PLC0415 - see `_probe`

    answer = _probe(configuration, host, port, timeout)
    allowed = {method.strip() for method in answer.headers.get("Allow", "").split(",")}
    return (
        answer.status == http.client.METHOD_NOT_ALLOWED
        and answer.headers.get_content_type() == "text/plain"
        and allowed == {"GET", "HEAD"}
    )


def _probe(
    configuration: "Configuration", host: str, port: int, timeout: float
) -> "http.client.HTTPResponse":
    """Return the answer to the deletion of a manifest that cannot exist, without its body."""
    # Imported here: most collections ask nobody, and are to start at once and stay small.
    import http.client  # noqa: PLC0415 - see above
    import ssl  # noqa: PLC0415 - same

    connection: http.client.HTTPConnection
    if configuration.secure:
        # Nothing secret is sent and the answer only ever makes us more careful, so who it is that
        # answers need not be proved; certificates rarely name the loopback address.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        prefix = configuration.http.prefix.strip("/")
        top = f"/{prefix}/v2" if prefix else "/v2"
        connection.request("DELETE", f"{top}/jettison/probe/manifests/{_IMPOSSIBLE}")
        return connection.getresponse()
    finally:
        connection.close()


@contextmanager
def quiesced(quiesce: str | None, resume: str | None) -> Iterator[None]:
    """Run a shell command before, and another one after, whatever happens in between.

    ``resume`` also runs on Ctrl-C, and if ``quiesce`` fails, which may have come half-way.
    Raises :class:`~jettison.errors.NotQuiescent` if ``quiesce`` fails, and
    :class:`~jettison.errors.PartlyDone` if ``resume`` does: the registry may then be down.
    """
    try:
        if quiesce is not None and (code := _shell(quiesce)):
            message = f"the command to quiesce ended with exit code {code}: {quiesce}"
            raise NotQuiescent(message, hint="Nothing was collected; run it by hand to see.")
        yield
    finally:
        if resume is not None and (code := _resume(resume)):
            message = f"the command to resume ended with exit code {code}: {resume}"
            hint = "The registry may still be stopped or read-only: look at it now."
            raise PartlyDone(message, hint=hint)


def _shell(command: str, *, alone: bool = False) -> int:
    # Standard output is data, so what the command says goes to stderr.
    done = subprocess.run(  # noqa: S602 - it is the user's own command, written for a shell
        command,
        shell=True,
        check=False,
        stdout=sys.stderr,
        start_new_session=alone,
    )
    return done.returncode


def _resume(command: str) -> int:
    """Run it so that no Ctrl-C and no other signal to this process ends it half-way."""
    if threading.current_thread() is not threading.main_thread():
        return _shell(command, alone=True)
    before = {number: signal.signal(number, _wait) for number in (*_ENDING, signal.SIGINT)}
    try:
        return _shell(command, alone=True)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(_: int, __: object) -> None:
    """Do nothing; unlike an ignored signal, commands do not inherit this."""
