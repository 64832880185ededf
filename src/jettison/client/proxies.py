"""HTTP proxies from the environment, read as Go and curl read it.

``HTTP_PROXY``, ``HTTPS_PROXY`` and, if that is unset, ``ALL_PROXY``; ``NO_PROXY`` lists hosts that
are reached directly. Lower case counts first. This machine is always reached directly.
"""

import ipaddress
from collections.abc import Mapping
from typing import Final, Self

import msgspec
from yarl import URL

from jettison.errors import ConfigurationError

__all__ = ["Proxies", "is_loopback", "shown"]

_PORTS: Final = {"http": 80, "https": 443}


def _bare(host: str) -> str:
    """Return a host without its port, brackets and final dot, in lower case."""
    if host.startswith("["):
        return host.partition("]")[0][1:].lower()
    return (host.partition(":")[0] if host.count(":") == 1 else host).rstrip(".").lower()


def is_loopback(host: str) -> bool:
    """Whether ``host[:port]`` is this machine.

    ``localhost`` and names below it (RFC 6761, 6.3), 127.0.0.0/8 or ``[::1]``.
    """
    name = _bare(host)
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def shown(proxy: URL) -> str:
    """Return the address of a proxy without its login."""
    return f"{proxy.scheme}://{proxy.host_port_subcomponent}"


class Proxies(msgspec.Struct, frozen=True):
    """The proxy for each address; without any, all addresses are reached directly."""

    http: str = ""
    https: str = ""
    exceptions: str = ""

    def __repr__(self) -> str:
        # There may be a password in the addresses.
        return f"Proxies({bool(self.http)}, {bool(self.https)}, {self.exceptions!r})"

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> Self:
        """Return the proxies that the variables name."""

        def read(name: str) -> str:
            return environment.get(name.lower()) or environment.get(name) or ""

        return cls(
            read("HTTP_PROXY") or read("ALL_PROXY"),
            read("HTTPS_PROXY") or read("ALL_PROXY"),
            read("NO_PROXY"),
        )

    def proxy_for(self, url: URL) -> URL | None:
        """Return the proxy for ``url``, or None if it is reached directly.

        Raises :class:`~jettison.errors.ConfigurationError` for one that is not an HTTP proxy.
        """
        text = self.https if url.scheme == "https" else self.http
        host = url.host or ""
        port = url.port or _PORTS.get(url.scheme, 0)
        if not text or is_loopback(f"[{host}]" if ":" in host else host):
            return None
        if any(_excepts(entry.strip(), host, port) for entry in self.exceptions.split(",")):
            return None
        try:
            proxy = URL(text if "://" in text else f"http://{text}")
        except ValueError:
            proxy = URL()
        if proxy.scheme not in _PORTS or not proxy.host:
            kind = f"of a kind that is not supported: {proxy.scheme}" if proxy.scheme else "none"
            message = f"the proxy that the environment names for {url.scheme}:// is {kind}"
            hint = f"Set {url.scheme.upper()}_PROXY to an HTTP proxy, or add {host} to NO_PROXY."
            raise ConfigurationError(message, hint=hint)
        return proxy


def _excepts(entry: str, host: str, port: int) -> bool:
    """Whether an entry of ``NO_PROXY`` means this host.

    ``*``; a network; an address or a name, with its subdomains, with or without a port; or
    ``.name``, the subdomains alone.
    """
    if entry == "*":
        return True
    try:
        network = ipaddress.ip_network(entry.strip("[]"), strict=False)
        return ipaddress.ip_address(_bare(host)) in network
    except ValueError:
        pass
    wanted, colon, number = entry.rpartition(":")
    if colon and number.isdigit() and (wanted.startswith("[") or ":" not in wanted):
        if int(number) != port:
            return False
        entry = wanted
    name = _bare(entry.removeprefix("*"))
    if not name:
        return False
    bare = _bare(host)
    return bare == name or bare.endswith(name if name.startswith(".") else f".{name}")
