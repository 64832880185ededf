"""From a configuration file and variables to a ServerConfiguration."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Final, get_args

import msgspec

from jettison.configuration.addresses import parse_address
from jettison.configuration.document import Document, is_override, read_document
from jettison.configuration.fields import Section
from jettison.configuration.http import read_http
from jettison.configuration.keys import (
    check_keys,
    refuse_driver,
    split_variable,
    unknown_variables,
)
from jettison.configuration.login import read_auth
from jettison.configuration.problems import Problems
from jettison.configuration.settings import (
    AccessRule,
    ActionName,
    Formatter,
    Http,
    Limits,
    Log,
    LogLevel,
    ServerConfiguration,
    Storage,
    UploadPurging,
    UrlRules,
)
from jettison.configuration.storage import DEFAULT_ROOT, storage_root
from jettison.configuration.watching import read_health, read_notifications
from jettison.errors import ConfigurationError

__all__ = ["for_folder", "read_server_configuration"]

_ACTIONS: Final[tuple[ActionName, ...]] = get_args(ActionName)
_PAGE: Final = 1000
_MOST_WORKERS: Final = 256
_MOST_CONNECTIONS: Final = 1_000_000
_KIB: Final = 1024
_MIB: Final = 1024 * _KIB


def read_server_configuration(path: Path, environment: Mapping[str, str]) -> ServerConfiguration:
    """Read a configuration file and the ``REGISTRY_…`` variables of ``environment``.

    Raises :class:`~jettison.errors.ConfigurationError`, with everything that is wrong, for what
    cannot be or is not supported; :class:`~jettison.errors.StorageError` if the file cannot be
    read.
    """
    problems = Problems(path)
    overrides = [name for name, value in sorted(environment.items()) if is_override(name, value)]
    unknown = unknown_variables(overrides, problems)
    known = {name: value for name, value in environment.items() if name not in unknown}
    document = read_document(path, known, split_variable)
    check_keys(document.keys, problems)
    top = Section(document, problems)
    auth = read_auth(top.section("auth"), problems)
    ours = top.section("jettison")
    access = _access(ours, problems, login=auth is not None)
    found = ServerConfiguration(
        storage=_storage(document, top.section("storage"), problems),
        path=path,
        http=read_http(top.section("http"), problems),
        log=_log(top),
        auth=auth,
        notifications=read_notifications(top.section("notifications"), problems),
        health=read_health(top.section("health")),
        urls=_urls(top.section("validation")),
        catalog_max=_page(top.section("catalog"), "maxentries"),
        tags_max=_page(top.section("tags"), "maxtags"),
        protect_references=ours.flag("protect_references", default=True),
        sparse_manifests=ours.flag("sparse_manifests", default=False),
        access=access,
        limits=_limits(ours.section("limits")),
        workers=ours.whole("workers", 1, 1, _MOST_WORKERS),
    )
    return msgspec.structs.replace(found, warnings=problems.settle())


def for_folder(root: Path, addr: str) -> ServerConfiguration:
    """Return the configuration of ``serve --root ROOT --addr ADDR``: deletion on, no login.

    Raises :class:`~jettison.errors.ConfigurationError` if ``addr`` is no address.
    """
    parse_address(addr)
    return ServerConfiguration(Storage(root, delete_enabled=True), http=Http(addr=addr))


def _storage(document: Document, section: Section, problems: Problems) -> Storage:
    root = None
    try:
        driver, root = storage_root(document)
    except ConfigurationError as error:
        problems.include(error)
    else:
        refuse_driver(driver, problems)
    maintenance = section.section("maintenance")
    purging = maintenance.section("uploadpurging")
    default = UploadPurging()
    return Storage(
        root=root or Path(DEFAULT_ROOT),
        delete_enabled=section.section("delete").flag("enabled", default=False),
        readonly=maintenance.section("readonly").flag("enabled", default=False),
        purging=UploadPurging(
            enabled=purging.flag("enabled", default=default.enabled),
            age=purging.seconds("age", default.age),
            interval=purging.seconds("interval", default.interval, zero=False),
            dry_run=purging.flag("dryrun", default=default.dry_run),
        ),
    )


def _log(top: Section) -> Log:
    section = top.section("log")
    levels: tuple[LogLevel, ...] = get_args(LogLevel)
    formatters: tuple[Formatter, ...] = get_args(Formatter)
    old = top.choice("loglevel", levels, "info")
    fields = section.section("fields")
    return Log(
        level=section.choice("level", levels, old),
        formatter=section.choice("formatter", formatters, "text"),
        fields={name: fields.text(name) or "" for name in fields},
        access_disabled=section.section("accesslog").flag("disabled", default=False),
    )


def _page(section: Section, key: str) -> int:
    found = section.whole(key, _PAGE, least=-_MOST_CONNECTIONS)
    return found if found > 0 else _PAGE


def _urls(section: Section) -> UrlRules:
    disabled = section.flag("disabled", default=False)
    urls = section.section("manifests", "urls")
    return UrlRules(_patterns(urls, "allow"), _patterns(urls, "deny"), enabled=not disabled)


def _patterns(section: Section, key: str) -> tuple[str, ...]:
    patterns = section.texts(key)
    for index, pattern in enumerate(patterns):
        reason = _misread(pattern)
        if reason is not None:
            hint = "It is a regular expression that Go and Python read alike."
            section.bad(f"{key}[{index}]", f"is no regular expression: {reason}", hint)
    return patterns


def _misread(pattern: str) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(pattern, re.ASCII)
    except re.error as error:
        return error.msg
    except Warning:
        return "Go has its own meaning for [[...]]"
    except (OverflowError, RecursionError):
        return "it is too large"
    return None


def _access(ours: Section, problems: Problems, *, login: bool) -> tuple[AccessRule, ...]:
    rules = tuple(_rule(section) for section in ours.sections("access"))
    if not rules and ours.holds("access"):
        hint = "Without the key everyone may do everything; with it, only what a rule allows."
        ours.bad("access", "has no rule", hint)
    named = sorted({user for rule in rules for user in rule.users} - {"*", "anonymous"})
    if named and not login:
        names = ", ".join(repr(name[:40]) for name in named[:5])
        problems.warn(f"jettison.access names {names}, and without auth nobody has a name")
    return _with_overwrite(rules)


def _with_overwrite(rules: tuple[AccessRule, ...]) -> tuple[AccessRule, ...]:
    """Return the rules with ``overwrite`` for all who may push, if no rule speaks of it.

    Rules that were written before there was this right go on to mean what they meant.
    """
    if any("overwrite" in rule.actions for rule in rules):
        return rules
    return tuple(
        msgspec.structs.replace(rule, actions=rule.actions | {"overwrite"})
        if "push" in rule.actions
        else rule
        for rule in rules
    )


def _rule(section: Section) -> AccessRule:
    actions: set[ActionName] = set()
    for index, name in enumerate(section.texts("actions", needed=True)):
        action = next((action for action in _ACTIONS if action == name), None)
        if action is None:
            hint = f"Allowed are {', '.join(_ACTIONS)}."
            section.bad(f"actions[{index}]", f"is {name[:40]!r}", hint)
        else:
            actions.add(action)
    users = section.texts("users", needed=True)
    return AccessRule(users, section.texts("repositories", needed=True), frozenset(actions))


def _limits(section: Section) -> Limits:
    default = Limits()

    def timeout(key: str, seconds: float) -> float:
        return section.seconds(key, seconds, unit=True, zero=False)

    return Limits(
        manifest_bytes=section.size("manifest_bytes", default.manifest_bytes, _KIB, 4 * _MIB),
        header_bytes=section.size("header_bytes", default.header_bytes, _KIB, 16 * _MIB),
        header_timeout=timeout("header_timeout", default.header_timeout),
        body_timeout=timeout("body_timeout", default.body_timeout),
        keepalive_timeout=timeout("keepalive_timeout", default.keepalive_timeout),
        connections=section.whole("connections", default.connections, 1, _MOST_CONNECTIONS),
    )
