"""Whether a registry may be writing to its storage: looked at, not believed.

Without a grace period a collection cannot tell garbage from a push that is under way. It is safe
only while the registry is stopped or read-only, and what a configuration says about that may not be
what the running process was started with. So the address in the configuration is asked.
"""

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from jettison.errors import NotQuiescent, PartlyDone
from jettison.model.digest import Digest

if TYPE_CHECKING:
    from jettison.store.configuration import Configuration

__all__ = ["probe_address", "quiesced", "require_quiescent"]

TIMEOUT: Final = 5.0
"""Seconds to wait for a connection and for an answer."""

_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)
_IMPOSSIBLE: Final = Digest("sha256:" + "0" * 64)
_EVERYWHERE: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not listened on
_HINT: Final = (
    "Stop the registry, or set storage.maintenance.readonly.enabled: true and restart it, "
    "or leave out --now and --grace 0; --assume-quiescent if you know better."
)


def require_quiescent(configuration: "Configuration | None", timeout: float = TIMEOUT) -> None:
    """Return if nobody serves the storage, or only for reading.

    Nothing listening at ``http.addr`` is a stopped registry. A running one is asked to delete a
    manifest that cannot exist; only a read-only registry refuses that with its own kind of 405,
    before it looks whether deletion is enabled. Raises :class:`~jettison.errors.NotQuiescent` in
    every other case, also where there is no configuration to take the address from.
    """
    if configuration is None:
        message = "without the registry's configuration nobody knows whether a push is under way"
        raise NotQuiescent(message, hint=f"Give the configuration instead of the folder. {_HINT}")
    address = probe_address(configuration)
    if address is None:
        found = configuration.http_addr or "no http.addr"
        raise NotQuiescent(f"{configuration.path}: {found} cannot be asked", hint=_HINT)
    from http.client import HTTPException  # noqa: PLC0415 - see `_ask`

    host, port = address
    try:
        answer = _ask(configuration, host, port, timeout)
    except ConnectionRefusedError:
        return
    except (OSError, HTTPException) as error:
        message = f"something listens at {host}:{port} and cannot be asked: {error}"
        raise NotQuiescent(message, hint=_HINT) from None
    if not answer:
        raise NotQuiescent(f"the registry at {host}:{port} takes pushes", hint=_HINT)


def probe_address(configuration: "Configuration") -> tuple[str, int] | None:
    """Return the host and port at which a registry with this configuration can be asked."""
    if configuration.http_net not in {"tcp", "tcp4", "tcp6"} or not configuration.http_addr:
        return None
    host, colon, port = configuration.http_addr.rpartition(":")
    if not colon:
        return None
    host = host.removeprefix("[").removesuffix("]")
    try:
        return _EVERYWHERE.get(host, host), socket.getservbyname(port)
    except OSError:
        return (_EVERYWHERE.get(host, host), int(port)) if port.isdecimal() else None


def _ask(configuration: "Configuration", host: str, port: int, timeout: float) -> bool:
    """Return whether the registry is read-only."""
    # Imported here: most collections ask nobody, and are to start at once and stay small.
    import http.client  # noqa: PLC0415 - see above
    import ssl  # noqa: PLC0415 - same

    connection: http.client.HTTPConnection
    if configuration.tls:
        # Nothing secret is sent and the answer only ever makes us more careful, so who it is that
        # answers need not be proved; certificates rarely name the loopback address.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        prefix = configuration.http_prefix.strip("/")
        top = f"/{prefix}/v2" if prefix else "/v2"
        connection.request("DELETE", f"{top}/jettison/probe/manifests/{_IMPOSSIBLE}")
        answer = connection.getresponse()
        allowed = {method.strip() for method in answer.headers.get("Allow", "").split(",")}
        return (
            answer.status == http.client.METHOD_NOT_ALLOWED
            and answer.headers.get_content_type() == "text/plain"
            and allowed == {"GET", "HEAD"}
        )
    finally:
        connection.close()


@contextmanager
def quiesced(quiesce: str | None, resume: str | None) -> Iterator[None]:
    """Run a shell command before, and another one after, whatever happens in between.

    ``resume`` is run also when ``quiesce`` fails, for it may have come half-way, and on Ctrl-C.
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
    # Standard output is data (design.md, rule 9), so what the command says goes to stderr.
    done = subprocess.run(  # noqa: S602 - it is the user's own command, written for a shell
        command,
        shell=True,
        check=False,
        stdout=sys.stderr,
        start_new_session=alone,
    )
    return done.returncode


def _resume(command: str) -> int:
    """Run it so that no Ctrl-C and no other signal meant for us ends it half-way."""
    if threading.current_thread() is not threading.main_thread():
        return _shell(command, alone=True)
    before = {number: signal.signal(number, _wait) for number in (*_ENDING, signal.SIGINT)}
    try:
        return _shell(command, alone=True)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(_: int, __: object) -> None:
    """Do nothing; unlike a signal that is ignored, this is not handed down to commands."""
