"""How a bucket is, asked of it anew each time."""

from typing import Final

from jettison.storage.filesystem import layout
from jettison.storage.objects.bucket import Bucket
from jettison.storage.objects.sweeps import Sweeps

__all__ = ["ObjectMonitoring"]

_PROBE: Final = f"{layout.OURS}/health"


class ObjectMonitoring:
    """Health checks of a bucket (:class:`~jettison.storage.protocol.Monitoring`)."""

    def __init__(self, bucket: Bucket, sweeps: Sweeps) -> None:
        self._bucket = bucket
        self._sweeps = sweeps

    def check_health(self, *, write: bool) -> bool:
        """List what is at the top, with ``write`` also store a small object; two requests.

        Returns whether a registry is there. The first one with ``write`` makes a third request: a
        server learns which sweeps are over before its first push.
        """
        if write:
            self._bucket.put(_PROBE, b"")
            self._sweeps.known()
        return bool(self._bucket.folders(layout.MARKER))

    def capacity(self) -> None:
        """Return None: a bucket has no bounds that are known."""
