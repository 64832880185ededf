"""The rules of collecting a bucket beside pushes, each left out by itself.

    RULES["announcement"](monkeypatch.setattr)

docs/internals/collecting-in-buckets.md says what each is for. The fourth rule, that deletes have an
end, is one of the store, and left out where that is simulated. Whoever patches is in the process
that is to break something.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from jettison.storage.objects.listing import Listing
from jettison.storage.objects.scanning import ObjectScanning
from jettison.storage.objects.sweeping import ObjectSweeping
from jettison.storage.objects.sweeps import Sweeps

__all__ = ["RULES", "Patch"]

Patch = Callable[[Any, str, Any], None]
"""`setattr`, or pytest's, which takes it back."""


def _announcement(patch: Patch) -> None:
    patch(Sweeps, "announce", lambda *_: 1)
    patch(Sweeps, "shut", lambda *_: None)


def _second_listing(patch: Patch) -> None:
    look, scan = ObjectSweeping._list, ObjectScanning._list
    first: dict[int, Listing] = {}

    def look_once(storage: ObjectSweeping) -> Listing:
        if not storage.aside:
            first[id(storage)] = look(storage)
            return first[id(storage)]
        setattr(ObjectScanning, "_list", lambda _: first[id(storage)])  # noqa: B010 - a patch
        try:
            return look(storage)
        finally:
            setattr(ObjectScanning, "_list", scan)  # noqa: B010 - as above

    patch(ObjectSweeping, "_list", look_once)


def _last_look(patch: Patch) -> None:
    patch(Sweeps, "naming", lambda *_: [])


RULES: Final[Mapping[str, Callable[[Patch], None]]] = {
    "announcement": _announcement,
    "second listing": _second_listing,
    "last look": _last_look,
}
