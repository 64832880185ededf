"""A disposable cache of immutable content: manifests and configurations, keyed by digest.

The cache replaces a damaged file silently, and does without a folder that it cannot write. Content
is checked against its digest when it is read. Content in the cache may be gone from the registry.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from jettison.model.digest import Digest
from jettison.registry import ConfigFacts, RawManifest

__all__ = ["ManifestCache", "cache_directory"]

_SCHEMA: Final = 1
_PENDING: Final = 1000
_ASKED: Final = 500
"""Digests in a query: SQLite takes 999 at least."""
_BUSY_SECONDS: Final = 5.0
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS manifests
    (digest TEXT PRIMARY KEY, media_type TEXT NOT NULL, raw BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS configs
    (digest TEXT PRIMARY KEY, created TEXT, architecture TEXT NOT NULL, os TEXT NOT NULL);
"""
_Result = TypeVar("_Result")


def cache_directory(environment: Mapping[str, str], home: Path) -> Path:
    """Return ``$XDG_CACHE_HOME/jettison`` or ``~/.cache/jettison``."""
    base = environment.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification: a relative path is invalid and ignored.
    return (Path(base) if base.startswith("/") else home / ".cache") / "jettison"


class ManifestCache:
    """Manifests and configuration facts in an SQLite file below ``directory`` (None: nowhere).

    Several processes and threads may use the same folder. Entries become durable in groups and at
    :meth:`close`. No method raises because of the file.
    """

    def __init__(self, directory: Path | None) -> None:
        self._path = None if directory is None else directory / "manifests.sqlite"
        self._database: sqlite3.Connection | None = None
        self._lock = threading.RLock()
        self._manifests: dict[Digest, RawManifest] = {}
        self._configs: dict[Digest, ConfigFacts] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- manifests -----------------------------------------------------------------------------

    def get(self, digest: Digest) -> RawManifest | None:
        """Return a manifest, or None if the cache does not have it."""
        return self.get_each([digest]).get(digest)

    def get_each(self, digests: Iterable[Digest]) -> dict[Digest, RawManifest]:
        """Return those of these manifests that the cache has; quicker than one by one."""
        with self._lock:
            asked = {one: one for one in digests}
            found = {one: self._manifests[one] for one in asked if one in self._manifests}
            lacking = [one for one in asked if one not in found]
            for encoded, media_type, raw in self._select("media_type, raw", "manifests", lacking):
                digest = asked.get(encoded)
                if digest is None or not (isinstance(raw, bytes) and isinstance(media_type, str)):
                    continue
                # A flipped bit is not to become a manifest.
                if digest.matches(raw):
                    found[digest] = RawManifest(digest, media_type, raw)
            return found

    def put(self, manifest: RawManifest) -> None:
        """Keep a manifest whose digest has been verified."""
        with self._lock:
            self._manifests[manifest.digest] = manifest
            self._flush_when_full()

    # -- configurations ------------------------------------------------------------------------

    def get_config(self, digest: Digest) -> ConfigFacts | None:
        """Return the facts of a configuration, or None."""
        with self._lock:
            if digest in self._configs:
                return self._configs[digest]
            row = next(self._select("created, architecture, os", "configs", [digest]), None)
            if row is None:
                return None
            _, created, architecture, system = row
            return ConfigFacts(
                None if created is None else str(created), str(architecture), str(system)
            )

    def put_config(self, digest: Digest, facts: ConfigFacts) -> None:
        """Keep the facts of a configuration."""
        with self._lock:
            self._configs[digest] = facts
            self._flush_when_full()

    # -- the file ------------------------------------------------------------------------------

    def close(self) -> None:
        """Write pending entries and close the file; the cache can be used again."""
        with self._lock:
            self._flush()
            self._disconnect()

    def _flush_when_full(self) -> None:
        if len(self._manifests) + len(self._configs) >= _PENDING:
            self._flush()

    def _flush(self) -> None:
        manifests = [(str(m.digest), m.media_type, m.raw) for m in self._manifests.values()]
        configs = [
            (str(digest), fact.created, fact.architecture, fact.os)
            for digest, fact in self._configs.items()
        ]
        self._manifests.clear()
        self._configs.clear()
        if not manifests and not configs:
            return

        def write(database: sqlite3.Connection) -> None:
            with database:
                database.executemany("INSERT OR REPLACE INTO manifests VALUES (?, ?, ?)", manifests)
                database.executemany("INSERT OR REPLACE INTO configs VALUES (?, ?, ?, ?)", configs)

        self._with_database(write)

    def _select(
        self, columns: str, table: str, digests: Sequence[Digest]
    ) -> Iterator[tuple[Any, ...]]:
        """Yield the rows with these digests: the digest, and the columns."""
        for first in range(0, len(digests), _ASKED):
            asked = [str(one) for one in digests[first : first + _ASKED]]
            places = ", ".join("?" * len(asked))
            query = f"SELECT digest, {columns} FROM {table} WHERE digest IN ({places})"  # noqa: S608 - ours
            yield from self._with_database(partial(_rows, query, asked)) or ()

    def _with_database(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result | None:
        """Run ``work`` on the database; replace a damaged one and try once more."""
        for _ in range(2):
            if self._path is None:
                return None
            try:
                self._database = self._database or _open(self._path)
                return work(self._database)
            except sqlite3.OperationalError as error:
                # Locked for long by another process: do without, this once. Anything else
                # (read-only, no space, not to be opened) will not change: do without for good.
                if not _is_busy(error):
                    self._give_up()
                return None
            except sqlite3.DatabaseError:
                self._disconnect()
                if not _remove(self._path):
                    self._give_up()
            except OSError:
                self._give_up()
        return None

    def _give_up(self) -> None:
        self._disconnect()
        self._path = None

    def _disconnect(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            with suppress(sqlite3.Error):
                database.close()


def _rows(query: str, values: Sequence[str], database: sqlite3.Connection) -> list[tuple[Any, ...]]:
    return database.execute(query, values).fetchall()


def _open(path: Path) -> sqlite3.Connection:
    # Private images are for this user alone.
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode=WAL")
        # What a power failure damages is made anew.
        database.execute("PRAGMA synchronous=OFF")
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version not in {0, _SCHEMA}:
            # Another version's: as good as damaged.
            raise sqlite3.DatabaseError  # noqa: TRY301 - closed below, like after any error
        if version == 0:
            database.executescript(
                f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version={_SCHEMA}; COMMIT;"
            )
    except BaseException:
        database.close()
        raise
    return database


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _remove(path: Path) -> bool:
    """Remove a damaged database with its other files; False if that fails."""
    try:
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    except OSError:
        return False
    return True
