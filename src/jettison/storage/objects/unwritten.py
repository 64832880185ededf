"""Whatever would change a bucket: refused in words. There is no code here that could do it.

Reading needs a few answers of what changes storages: that nothing lies aside, since nothing ever
was set aside.
"""

from typing import NoReturn

from jettison.errors import Refused
from jettison.storage.objects.bucket import Bucket
from jettison.storage.protocol import (
    Mending,
)

__all__ = ["Unwritten", "refusal"]


def refusal(action: str) -> Refused:
    """Return the error for what cannot be done to a bucket; ``action`` follows "cannot"."""
    hint = "A storage in a bucket can be read and collected: check, ls, inspect, fsck and gc work."
    return Refused(f"cannot {action}: in a bucket that cannot be done yet", hint=hint)


class Unwritten:
    """All that writes, sweeps, mends and serves, refused."""

    bucket: Bucket

    def _refuse(self, action: str, repository: str = "") -> NoReturn:
        place = f"{repository} in {self.bucket.location}" if repository else self.bucket.location
        raise refusal(f"{action} {place}")

    def mending(self) -> Mending:
        """Refuse."""
        self._refuse("repair")
