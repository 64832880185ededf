"""The sections ``notifications`` and ``health``."""

from pathlib import Path
from typing import Final

from jettison.configuration.http import is_web_url
from jettison.configuration.section import Section
from jettison.configuration.settings import (
    Endpoint,
    FileCheck,
    Health,
    HttpCheck,
    Notifications,
    StorageHealth,
    TcpCheck,
)

__all__ = ["read_health", "read_notifications"]

_ACTIONS: Final = ("push", "pull", "mount", "delete")
_URL: Final = "It is a URL of http or https."
_INTERVAL: Final = 10.0
_OK: Final = 200
_LEAST_STATUS: Final = 100
_MOST_STATUS: Final = 599


def read_notifications(section: Section) -> Notifications:
    """Read who is notified."""
    endpoints = [_endpoint(each) for each in section.sections("endpoints")]
    references = section.section("events").flag("includereferences", default=False)
    return Notifications(tuple(endpoints), references)


def _endpoint(section: Section) -> Endpoint:
    ignore = section.section("ignore")
    actions = ignore.texts("actions")
    for unknown in [action for action in actions if action not in _ACTIONS]:
        known = ", ".join(_ACTIONS)
        ignore.warn("actions", f"has {unknown[:40]!r}, which is no action; actions are {known}")
    media_types = (*section.texts("ignoredmediatypes"), *ignore.texts("mediatypes"))
    return Endpoint(
        name=section.text("name") or "",
        url=_url(section, "url"),
        disabled=section.flag("disabled", default=False),
        headers=section.headers("headers"),
        timeout=section.seconds("timeout", 1.0, zero=False),
        threshold=section.whole("threshold", 10) or 10,
        backoff=section.seconds("backoff", 1.0, zero=False),
        ignored_media_types=tuple(dict.fromkeys(media_types)),
        ignored_actions=actions,
    )


def read_health(section: Section) -> Health:
    """Read the checks that run in the background."""
    driver = section.section("storagedriver")
    return Health(
        storage=StorageHealth(
            driver.flag("enabled", default=False), _interval(driver), driver.whole("threshold", 0)
        ),
        files=tuple(_file(each) for each in section.sections("file")),
        http=tuple(_http(each) for each in section.sections("http")),
        tcp=tuple(_tcp(each) for each in section.sections("tcp")),
    )


def _file(section: Section) -> FileCheck:
    section.needed("file")
    path = section.path("file")
    return FileCheck(path or Path(), _interval(section), section.whole("threshold", 0))


def _http(section: Section) -> HttpCheck:
    return HttpCheck(
        uri=_url(section, "uri"),
        status=section.whole("statuscode", _OK, _LEAST_STATUS, _MOST_STATUS),
        headers=section.headers("headers"),
        timeout=section.seconds("timeout", 0.0),
        interval=_interval(section),
        threshold=section.whole("threshold", 0),
    )


def _tcp(section: Section) -> TcpCheck:
    addr = section.needed("addr")
    found = section.address("addr", addr) if addr else None
    if found is not None and not all(found):
        section.bad("addr", f"is {addr[:80]!r}", "A check needs a host and a port.")
    timeout = section.seconds("timeout", 0.0)
    return TcpCheck(addr, timeout, _interval(section), section.whole("threshold", 0))


def _url(section: Section, key: str) -> str:
    url = section.needed(key, secret=True)
    if url and not is_web_url(url):
        section.bad(key, "is no URL of http or https", _URL)
    return url


def _interval(section: Section) -> float:
    return section.seconds("interval", _INTERVAL, zero=False)
