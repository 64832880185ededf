"""What cannot be done to a bucket yet: refused in words."""

from typing import NoReturn

from jettison.errors import Refused
from jettison.storage.objects.bucket import Bucket
from jettison.storage.protocol import (
    Mending,
)

__all__ = ["Unwritten", "refusal"]


def refusal(action: str) -> Refused:
    """Return the error for what cannot be done to a bucket; ``action`` follows "cannot"."""
    hint = "Push again what is damaged, or delete it; `jettison fsck` without --repair reports it."
    return Refused(f"cannot {action}: in a bucket that cannot be done yet", hint=hint)


class Unwritten:
    """All that mends, refused."""

    bucket: Bucket

    def _refuse(self, action: str, repository: str = "") -> NoReturn:
        place = f"{repository} in {self.bucket.location}" if repository else self.bucket.location
        raise refusal(f"{action} {place}")

    def mending(self) -> Mending:
        """Refuse."""
        self._refuse("repair")
