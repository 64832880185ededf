"""Trying what a store does and enforces, with small objects of ours that are removed again.

A collection beside our own servers rests on three things: a listing shows at once what was written
and removed, an object can be stored only where there is none, and a signed request is refused when
its time is over (docs/internals/collecting-in-buckets.md).
"""

import secrets
import time
from collections.abc import Callable
from typing import Final

from jettison.errors import Refused, StorageError
from jettison.storage.filesystem import layout
from jettison.storage.objects.bucket import Bucket
from jettison.storage.objects.deleting import why_unsigned
from jettison.storage.objects.direct import request
from jettison.storage.objects.failures import StoreDenied
from jettison.storage.protocol import age
from jettison.storage.protocol.probing import StoreProbe

__all__ = ["probe_store", "require_strong_listing"]

_FOLDER: Final = f"{layout.OURS}/probe"
_ROUNDS: Final = 5
_FEW_ROUNDS: Final = 2
_LASTS: Final = 1.0
_MOST_AHEAD: Final = 30.0
"""Seconds that the store's clock may be behind: so long is waited for a request to expire."""
_LONG: Final = 60.0
_FORBIDDEN: Final = frozenset({400, 401, 403})
_GONE: Final = frozenset({200, 202, 204})


def probe_store(bucket: Bucket, sleep: Callable[[float], None] = time.sleep) -> StoreProbe:
    """Write, list and remove a few objects below ``jettison/probe/``, and tell what was seen.

    Raises :class:`~jettison.errors.StorageError` where the store fails, and not where it lacks a
    right.
    """
    prober = _Prober(bucket, f"{_FOLDER}/{secrets.token_hex(8)}", sleep)
    try:
        bucket.put(prober.key("first"), b"")
    except StoreDenied:
        return StoreProbe(untried="no right to write")
    try:
        found = prober.run()
    except StoreDenied as error:
        found = StoreProbe(untried=error.message)
    finally:
        left = prober.tidy()
    if left:
        location = f"{bucket.location}/{prober.folder}"
        return StoreProbe(untried="no right to delete", versions=found.versions, left=location)
    return found


def require_strong_listing(bucket: Bucket) -> None:
    """Raise :class:`~jettison.errors.Refused` for a store whose listing is behind what was written.

    Eight requests. Raises :class:`~jettison.errors.StorageError` where it cannot be tried.
    """
    prober = _Prober(bucket, f"{_FOLDER}/{secrets.token_hex(8)}", time.sleep)
    try:
        stale = sum(prober.is_stale(number) for number in range(_FEW_ROUNDS))
    finally:
        prober.tidy()
    if stale:
        message = f"the listing of {bucket.location} does not show what was just written or removed"
        hint = "See `jettison check --probe CONFIG`; some stores have a setting for it."
        raise Refused(f"{message}: images would be lost", hint=hint)


class _Prober:
    def __init__(self, bucket: Bucket, folder: str, sleep: Callable[[float], None]) -> None:
        self.folder = folder
        self._bucket = bucket
        self._sleep = sleep
        self._keys: list[str] = []

    def key(self, name: str) -> str:
        found = f"{self.folder}/{name}"
        if found not in self._keys:
            self._keys.append(found)
        return found

    def tidy(self) -> bool:
        """Remove all that was written; whether anything is left."""
        outcomes = self._bucket.remove_each(self._keys)
        return any(isinstance(outcome, StorageError) for outcome in outcomes)

    def run(self) -> StoreProbe:
        first = self.key("first")
        versions = self._bucket.has_version(first) if self._bucket.tells_versions else None
        creates = not self._bucket.put_new(first, b"again")
        stale = sum(self.is_stale(number) for number in range(_ROUNDS))
        unsigned = why_unsigned(self._bucket)
        return StoreProbe(
            rounds=_ROUNDS,
            stale=stale,
            creates=creates,
            expires=self._expires() if unsigned is None else None,
            unsigned=unsigned,
            versions=versions,
        )

    def is_stale(self, number: int) -> bool:
        """Whether a listing does not show what was just written, or shows what was just removed."""
        key = self.key(f"round-{number}")
        self._bucket.put(key, b"")
        shown = self._shows(key)
        self._bucket.remove([key])
        self._keys.remove(key)
        return not shown or self._shows(key)

    def _shows(self, key: str) -> bool:
        return any(one.key == key for page in self._bucket.pages(self.folder) for one in page)

    def _expires(self) -> bool | None:
        """Whether a DELETE is refused when its time is over, and only then; None: not known."""
        key = self.key("signed")
        self._bucket.put(key, b"")
        written = self._bucket.look(key)
        if written is None:
            return None
        ahead = age(written.stamp, time.time())
        if ahead > _MOST_AHEAD:
            return None
        late = self._bucket.url("DELETE", key, _LASTS)
        # The store's clock may be behind ours, and tells whole seconds.
        self._sleep(_LASTS + max(0.0, ahead) + 1.0)
        refused = self._ask(late) in _FORBIDDEN and self._bucket.look(key) is not None
        if not refused:
            return False
        # What refuses each signed DELETE shows nothing.
        return True if self._ask(self._bucket.url("DELETE", key, _LONG)) in _GONE else None

    def _ask(self, url: str) -> int:
        return request(self._bucket.tls, "DELETE", url).status
