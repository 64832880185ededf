"""From a configuration file and variables to a Configuration."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Final, get_args

import msgspec

from jettison.configuration.addresses import parse_address
from jettison.configuration.auth import read_auth
from jettison.configuration.document import read_document
from jettison.configuration.http import read_http
from jettison.configuration.keys import check_keys
from jettison.configuration.observing import read_health, read_notifications
from jettison.configuration.problems import Problem, Problems, Purpose, refusal
from jettison.configuration.retention import read_immutable, read_pulls, read_retention
from jettison.configuration.section import Section
from jettison.configuration.settings import (
    AccessRule,
    ActionName,
    Configuration,
    Formatter,
    Http,
    Limits,
    Log,
    LogLevel,
    Storage,
    UrlRules,
)
from jettison.configuration.storage import check_version, read_owners, read_redis, read_storage
from jettison.configuration.variables import find_variables

__all__ = ["examine_configuration", "for_folder", "read_configuration"]

_ACTIONS: Final[tuple[ActionName, ...]] = get_args(ActionName)
_PAGE: Final = 1000
_MOST_WORKERS: Final = 256
_MOST_CONNECTIONS: Final = 1_000_000
_KIB: Final = 1024
_MIB: Final = 1024 * _KIB


def read_configuration(
    path: Path, environment: Mapping[str, str], purpose: Purpose = "storage"
) -> Configuration:
    """Read a configuration file and the ``REGISTRY_…`` variables of ``environment``.

    Raises one :class:`~jettison.errors.ConfigurationError` with all problems that concern
    ``purpose``, and :class:`~jettison.errors.StorageError` if the file cannot be read.
    """
    found, problems = examine_configuration(path, environment)
    error = refusal(path, problems, purpose)
    if error is not None:
        raise error
    return found


def examine_configuration(
    path: Path, environment: Mapping[str, str]
) -> tuple[Configuration, tuple[Problem, ...]]:
    """Read a configuration like :func:`read_configuration`, and return its problems with it.

    A key that cannot be used has its default. Raises
    :class:`~jettison.errors.ConfigurationError` only for a file that is not YAML, or has no keys.
    """
    problems = Problems()
    document = read_document(path, find_variables(environment, problems), problems)
    check_keys(document.keys, problems)
    top = Section(document, problems)
    check_version(top)
    serving = top.only("serving")
    http = top.section("http")
    tls = http.section("tls")
    auth = read_auth(top.section("auth"))
    ours = top.section("jettison").only("serving")
    access = _access(ours, login=auth is not None)
    sparse = ours.flag("sparse_manifests", default=False)
    indexes = top.section("validation", "manifests", "indexes")
    storage = read_storage(top)
    found = Configuration(
        storage=storage,
        path=path,
        http=read_http(http),
        log=_log(serving),
        auth=auth,
        notifications=read_notifications(serving.section("notifications")),
        health=read_health(serving.section("health")),
        urls=_urls(serving.section("validation")),
        catalog_max=_page(serving.section("catalog"), "maxentries"),
        tags_max=_page(serving.section("tags"), "maxtags"),
        protect_references=ours.flag("protect_references", default=True),
        sparse_manifests=sparse,
        sparse_indexes=sparse or indexes.value("platforms") in ("none", "list"),
        access=access,
        limits=_limits(ours.section("limits")),
        workers=ours.whole("workers", 1, 1, _MOST_WORKERS),
        pulls=read_pulls(ours.section("pulls")),
        immutable=read_immutable(top.section("jettison").only("opening")),
        retention=read_retention(ours, storage),
        address=http.text("addr"),
        secure=bool(tls.value("certificate") or tls.value("letsencrypt")),
        cache_of=top.section("proxy").text("remoteurl", secret=True),
        redis=read_redis(top.only("storage").section("redis")),
        owners=tuple(read_owners(top)),
        warnings=problems.warnings,  # last: they are noted as the others are read
    )
    return found, problems.errors


def for_folder(root: Path, addr: str) -> Configuration:
    """Return the configuration of ``serve --root ROOT --addr ADDR``: deletion on, no login.

    Raises :class:`~jettison.errors.ConfigurationError` if ``addr`` is no address.
    """
    parse_address(addr)
    return Configuration(Storage(root, delete_enabled=True), http=Http(addr=addr))


def _log(top: Section) -> Log:
    section = top.section("log")
    levels: tuple[LogLevel, ...] = get_args(LogLevel)
    formatters: tuple[Formatter, ...] = get_args(Formatter)
    old: LogLevel = top.choice("loglevel", levels, Log().level)
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


def _access(ours: Section, *, login: bool) -> tuple[AccessRule, ...]:
    rules = tuple(_rule(section) for section in ours.sections("access"))
    if not rules and ours.holds("access"):
        hint = "Without the key everyone may do everything; with it, only what a rule allows."
        ours.bad("access", "has no rule", hint)
    named = sorted({user for rule in rules for user in rule.users} - {"*", "anonymous"})
    if named and not login:
        names = ", ".join(repr(name[:40]) for name in named[:5])
        ours.warn("access", f"names {names}, and without auth nobody has a name")
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
