"""The ``http`` section."""

from typing import Final, get_args
from urllib.parse import urlsplit

from jettison.configuration.ciphers import CIPHER_SUITES, TLS_1_3, is_outdated
from jettison.configuration.section import Section
from jettison.configuration.settings import ClientAuth, Debug, Http, Net, Tls, TlsVersion

__all__ = ["is_web_url", "read_http"]

_URL: Final = "It is the URL that clients use, such as https://registry.example:5000."
_PATH_SIGNS: Final = frozenset("?#%\\")
_DEFAULT: Final = Http()


def read_http(section: Section) -> Http:
    """Read where and how clients are answered; a collection asks there who is writing."""
    net = section.choice("net", get_args(Net), _DEFAULT.net)
    serving = section.only("serving")
    return Http(
        addr=_address(section, net),
        net=net,
        host=_host(serving),
        prefix=_slashed(section, "prefix", ends=True) or _DEFAULT.prefix,
        relative_urls=serving.flag("relativeurls", default=_DEFAULT.relative_urls),
        drain_timeout=serving.seconds("draintimeout", _DEFAULT.drain_timeout),
        headers=serving.headers("headers"),
        tls=_tls(section.section("tls").only("serving")),
        debug=_debug(serving.section("debug")),
    )


def is_web_url(url: str, *, bare: bool = False) -> bool:
    """Whether ``url`` is one of http or https with a host, and without a fragment.

    A ``bare`` one has no login and no query either.
    """
    if not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.fragment or port == 0:
        return False
    return not bare or not (parts.query or "@" in parts.netloc)


def _address(section: Section, net: str) -> str:
    addr = section.text("addr")
    if addr is None:
        if net == "unix":
            section.bad("addr", "is missing", "With net: unix it is the path of a socket.")
        return _DEFAULT.addr
    if net == "unix":
        if "\0" in addr:
            section.bad("addr", "holds a NUL character", "With net: unix it is a path.")
        return addr
    # A collection can ask at a port that has a name, too.
    (section.only("serving") if ":" in addr else section).address("addr", addr)
    return addr


def _host(section: Section) -> str | None:
    host = section.text("host", secret=True)
    if host is None:
        return None
    if not is_web_url(host, bare=True):
        section.bad("host", "is no URL of http or https without a login", _URL)
    return host.rstrip("/")


def _slashed(section: Section, key: str, *, ends: bool) -> str | None:
    """Return a path of a URL with a slash in front, and one at its end if ``ends``."""
    path = section.text(key)
    if path is None:
        return None
    if not path.isprintable() or " " in path or not path.isascii() or _PATH_SIGNS & set(path):
        section.bad(key, f"is {path[:80]!r}", "It is the path of a URL, such as /registry/.")
    slashed = "/" + path.strip("/")
    return slashed if not ends or slashed == "/" else slashed + "/"


def _tls(section: Section) -> Tls | None:
    certificate = section.path("certificate")
    key = section.path("key")
    authorities = section.paths("clientcas")
    if certificate is None or key is None:
        if certificate is not None or key is not None or authorities:
            missing = "certificate" if certificate is None else "key"
            section.bad(missing, "is missing", "A certificate and its key stand there together.")
        return None
    version, suites = _version_and_suites(section)
    return Tls(certificate, key, authorities, _client_auth(section, authorities), version, suites)


def _client_auth(section: Section, authorities: tuple[object, ...]) -> ClientAuth | None:
    allowed: tuple[ClientAuth, ...] = get_args(ClientAuth)
    if section.text("clientauth") == "require-any-client-cert":
        found = "is require-any-client-cert, which proves nothing: anyone can make a certificate"
        section.bad("clientauth", found, f"Allowed are {', '.join(allowed)}.")
        return None
    default: ClientAuth = "require-and-verify-client-cert"
    found_auth = section.choice("clientauth", allowed, default)
    return found_auth if authorities else None


def _version_and_suites(section: Section) -> tuple[TlsVersion, tuple[str, ...]]:
    allowed: tuple[TlsVersion, ...] = get_args(TlsVersion)
    version: TlsVersion = "tls1.2"
    if section.text("minimumtls") in {"tls1.0", "tls1.1"}:
        found = "is older than TLS 1.2, which is no longer safe"
        section.bad("minimumtls", found, "Allowed are tls1.2 and tls1.3.")
    else:
        version = section.choice("minimumtls", allowed, version)
    suites = section.texts("ciphersuites")
    for index, suite in enumerate(suites):
        if suite not in CIPHER_SUITES and suite not in TLS_1_3:
            found = "names a suite that is no longer safe" if is_outdated(suite) else "is unknown"
            hint = "Known are the names of docs/configuration.md."
            section.bad(f"ciphersuites[{index}]", f"{found}: {suite[:60]!r}", hint)
    if suites and TLS_1_3.issuperset(suites) and version != "tls1.3":
        section.warn("ciphersuites", "has none of TLS 1.2: only TLS 1.3 is spoken")
        version = "tls1.3"
    return version, suites


def _debug(section: Section) -> Debug | None:
    prometheus = section.section("prometheus")
    enabled = prometheus.flag("enabled", default=False)
    path = _slashed(prometheus, "path", ends=False) or "/metrics"
    addr = section.text("addr")
    if addr is None:
        if enabled:
            section.warn("addr", "is missing, so there are no metrics")
        return None
    section.address("addr", addr)
    return Debug(addr, enabled, path)
