"""``check`` of a configuration: its errors, and what keeps space from being freed."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jettison.configuration import (
    Configuration,
    Problem,
    examine_configuration,
    refusal,
)
from jettison.configuration.settings import ScheduledRetention
from jettison.errors import JettisonError, Refused, StorageError, UsageError
from jettison.jobs.check import Item, Level, Measure, check_storage, count_storage
from jettison.jobs.check_bucket import bucket_items, probe_items, weakness
from jettison.jobs.quiescence import describe_beside
from jettison.storage.opening import count_unfinished, probe_bucket, storage_of
from jettison.storage.protocol import Storage

if TYPE_CHECKING:
    from jettison.configuration.buckets import StoreBucket

__all__ = ["DELETE_VARIABLE", "check_configuration"]

DELETE_VARIABLE: Final = "REGISTRY_STORAGE_DELETE_ENABLED"
_DELETE: Final = "storage.delete.enabled"
_ORDER: Final = (Level.OK, Level.ERROR, Level.WARNING, Level.INFO)


def check_configuration(
    path: Path,
    environment: Mapping[str, str],
    now: float,
    *,
    probe: bool = False,
    measure: Measure = count_storage,
) -> tuple[Configuration, list[Item], JettisonError | None]:
    """Read a configuration and report what keeps space from being freed.

    ``now`` is in seconds since the epoch. With ``probe`` it is tried what the store of a bucket
    enforces, which writes to it. ``measure`` counts the storage. Also returns the error with which
    every command ends, or that of a store that cannot be used, or None if all is valid. Raises
    :class:`~jettison.errors.ConfigurationError` for a file without keys, and
    :class:`~jettison.errors.UsageError` for a ``probe`` of what is no bucket.
    """
    configuration, problems = examine_configuration(path, environment)
    storage = configuration.storage
    if probe and storage.bucket is None:
        message = f"--probe is about a storage in a bucket, and that of {path} is none"
        raise UsageError(message, hint=f"Run: jettison check {path}")
    # What a driver keeps cannot be collected; whether it lets delete can be told.
    driver = f"storage.{storage.driver}"
    problems = tuple(one for one in problems if one.key != driver or one.scope == "serving")
    error = refusal(path, [one for one in problems if one.scope != "opening"], "storage")
    items: list[Item] = []
    if error is None:
        items.append(Item(Level.OK, "configuration", f"{path} is a Distribution configuration"))
    if storage.delete_enabled:
        items.append(Item(Level.OK, _DELETE, "true: deletion is enabled"))
    items += map(_problem, problems)
    items += _deletion(configuration, environment, problems)
    items += _state(configuration)
    if configuration.retention is not None:
        items.append(_scheduled(configuration.retention, now))
    items += [Item(Level.INFO, "serve", f"would warn: {one}") for one in configuration.warnings]
    items.sort(key=lambda item: _ORDER.index(item.level))
    if not storage.is_reachable:
        message = f"driver {storage.driver!r}: its storage cannot be reached from here yet"
        items.append(Item(Level.INFO, "storage", message))
    elif error is None:
        try:
            found = storage_of(configuration, environment)
            items += [*check_storage(found, measure), *_beside(found, configuration)]
        except StorageError as missing:
            items.append(Item(Level.ERROR, "storage", missing.message, missing.hint))
        else:
            if storage.bucket is not None:
                more, weak = _store(storage.bucket, environment, probe=probe)
                return configuration, [*items, *more], weak
    return configuration, items, error


def _beside(storage: Storage, configuration: Configuration) -> Iterator[Item]:
    message = describe_beside(storage, configuration)
    if message is not None:
        yield Item(Level.INFO, "collecting", message)


def _store(
    bucket: "StoreBucket", environment: Mapping[str, str], *, probe: bool
) -> tuple[list[Item], Refused | None]:
    items = list(bucket_items(bucket, count_unfinished(bucket, environment)))
    try:
        found = probe_bucket(bucket, environment) if probe else None
    except StorageError as error:
        return [*items, Item(Level.ERROR, "store", error.message, error.hint)], None
    return [*items, *probe_items(found)], weakness(found)


def _scheduled(retention: ScheduledRetention, now: float) -> Item:
    """Return when the server prunes, as times that a person can compare with what was meant."""
    schedule = retention.schedule
    first = schedule.after(now)
    times = [schedule.shown(first), schedule.shown(schedule.after(first))]
    message = f"`jettison serve` prunes by {retention.file}, next at {' and '.join(times)}"
    return Item(Level.INFO, "jettison.retention", message)


def _problem(problem: Problem) -> Item:
    message = problem.message.removeprefix(problem.key).strip()
    if problem.scope == "serving":
        message = f"{message} (only `jettison serve` refuses it)"
        return Item(Level.INFO, problem.key, message, problem.allowed or None)
    return Item(Level.ERROR, problem.key, message, problem.allowed or None)


def _deletion(
    configuration: Configuration, environment: Mapping[str, str], problems: tuple[Problem, ...]
) -> Iterator[Item]:
    """Yield the reasons for which the registry answers a DELETE with 405."""
    enabled = configuration.storage.delete_enabled
    variable = environment.get(DELETE_VARIABLE)
    if variable is not None:
        message = f"the variable {DELETE_VARIABLE}={variable} overrides the file here"
        fix = "Change the variable where the registry is started, or remove it there."
        yield Item(Level.WARNING if enabled else Level.ERROR, _DELETE, message, fix)
    if not enabled:
        message = "deletion is not enabled: the registry answers 405 to every DELETE"
        for problem in problems:
            if problem.key == _DELETE:
                message += f" (the key {problem.found}, only true enables it)"
        fix = (
            f"Set {_DELETE}: true (check --fix does it), or {DELETE_VARIABLE}=true where the "
            "registry is started, and restart it."
        )
        yield Item(Level.ERROR, _DELETE, message, fix)
    if configuration.cache_of is not None:
        message = (
            f"the registry is a pull-through cache of {configuration.cache_of}: it answers 405 to "
            f"every DELETE, whatever {_DELETE} says"
        )
        fix = "Images leave it after proxy.ttl. To delete now, remove proxy meanwhile, and restart."
        yield Item(Level.ERROR, "proxy.remoteurl", message, fix)


def _state(configuration: Configuration) -> Iterator[Item]:
    """Yield the settings that have consequences for a collection."""
    storage = configuration.storage
    if storage.readonly:
        yield Item(
            Level.WARNING,
            "storage.maintenance.readonly.enabled",
            "the registry is read-only: it takes no push and no DELETE; collecting is safe",
            "Set it to false when the maintenance is over, and restart the registry.",
        )
    if storage.cache is not None:
        lasting = "until it is restarted" if storage.cache == "inmemory" else "and restarts"
        message = (
            f"the registry remembers blobs ({storage.cache}) {lasting}: after a collection "
            "it may say that a removed blob is there, and a push that skips it makes a broken image"
        )
        fix = "Restart the registry after each collection, or remove this key."
        if storage.cache == "redis":
            fix = "Empty the Redis database after each collection, or remove this key."
        yield Item(Level.WARNING, "storage.cache.blobdescriptor", message, fix)
    if not storage.purging.enabled:
        yield Item(
            Level.INFO,
            "storage.maintenance.uploadpurging.enabled",
            "the registry never removes uploads that were given up",
            "Set it to true, or remove the key.",
        )
    for owner in (one for one in configuration.owners if one.knows):
        message = (
            f"it belongs to {owner.name} ({owner.clue}): which images exist is not in it alone, "
            "and gc refuses it"
        )
        yield Item(Level.ERROR, "storage", message, f"Let {owner.name} collect it.")
