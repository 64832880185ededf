"""The protocol of collecting a bucket beside pushes, as a model that can be explored.

There are one blob with its layer link, and one manifest of it with its data, its revision link and
a tag. Time has two values: old is what is older than the grace period, young is what was written
now. The words and the argument are those of `docs/internals/collecting-in-buckets.md`.

A sweep and a push take one step for each object that they read or write. A listing of images is no
snapshot, so each key in it is read in a step of its own, in any order. A DELETE that was sent takes
effect whenever it likes until its end, or never. A process that is killed takes no further step.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

Keys = int
"""A set of the keys that there are, as the sum of some of these (enumerations would be slow)."""

NONE: Final = 0
DATA: Final = 1
LINK: Final = 2
MANIFEST: Final = 4
REVISION: Final = 8
TAG: Final = 16

BLOB: Final = DATA | LINK
IMAGE: Final = MANIFEST | REVISION | TAG
LINKS: Final = LINK | REVISION
ALL: Final = BLOB | IMAGE
_NAMES: Final = {DATA: "data", LINK: "link", MANIFEST: "manifest", REVISION: "revision", TAG: "tag"}


def each(keys: Keys) -> list[Keys]:
    """Return the single keys of a set."""
    return _EACH[keys]


_EACH: Final = [[key for key in _NAMES if key & keys] for keys in range(ALL + 1)]


def told(keys: Keys) -> str:
    """Return a set for people to read."""
    return " and ".join(_NAMES[key] for key in each(keys)) or "nothing"


class Store(NamedTuple):
    """The images: which keys are there, and which of them are young."""

    there: Keys
    young: Keys = NONE

    def put(self, key: Keys) -> "Store":
        return Store(self.there | key, self.young | key)

    def without(self, key: Keys) -> "Store":
        return Store(self.there & ~key, self.young & ~key)

    @property
    def old(self) -> Keys:
        return self.there & ~self.young

    @property
    def garbage(self) -> Keys:
        """What a listing that shows this may take: old, and reached by nothing."""
        found = self.old & ~TAG
        if self.there & TAG or self.young & REVISION:
            return NONE
        if self.young & LINK:
            found &= ~BLOB
        if self.young & DATA:
            found &= ~BLOB
        return found


@dataclass(frozen=True)
class Rules:
    """What the protocol consists of; each can be left out.

    `announcing`: a sweep writes down what it takes. `listing_again`: it lists everything after
    that. `looking`: a push looks at the sweeps before it writes a tag, or at its end.
    `tagging_last`: it writes the tag after all else, when it has looked. `ending`: a DELETE that
    was sent has no effect after its end. `newest`: a sweep goes on only if its number is the
    highest of all once it has announced itself. `gaps`: a push takes a number that is missing,
    because old records are removed, for one that names its keys.

    `small` is none of them: listings are read in the order of their keys, and states that differ in
    names alone count as one, which makes fewer of them.
    """

    announcing: bool = True
    listing_again: bool = True
    looking: bool = True
    tagging_last: bool = True
    ending: bool = True
    newest: bool = True
    gaps: bool = True
    small: bool = False


class Record(NamedTuple):
    """An announcement in the bucket. `over`: its end was written, or its time has passed."""

    number: int
    keys: Keys
    over: bool = False


class At(IntEnum):
    """Where a sweep is."""

    LISTING = 0
    NUMBERING = 1
    ANNOUNCING = 2
    CONFIRMING = 3
    LISTING_AGAIN = 4
    DELETING = 5
    DONE = 6


class Sweep(NamedTuple):
    """One sweep.

    `unread` and `seen` are of its second listing. `going` is still to be deleted, `sent` is on its
    way; `late` too, but the sweep does not wait for it any more.
    """

    at: At = At.LISTING
    plan: Keys = NONE
    number: int = 0
    unread: Keys = NONE
    seen: Store = Store(NONE)
    going: Keys = NONE
    sent: Keys = NONE
    late: Keys = NONE


class Asks(IntEnum):
    """What a client asks for; after a success for the next."""

    HEAD = 0
    COMMIT = 1
    MANIFEST = 2
    NOTHING = 3


BEGINNING: Final = 1
"""Waits for no sweep, and is still to begin."""


class Push(NamedTuple):
    """A client that pushes an image, and the server that it talks to.

    `known`: these sweeps are over (bits), as a listing said before the request began.
    `unread` is still to be looked at, `unwritten` to be written. `waits`: until these sweeps are
    over (bits). `sure`: no sweep takes what a tag is going to lead to. `promised` is all that a
    success was answered for.
    """

    asks: Asks
    known: int = 0
    unread: Keys = BLOB
    unwritten: Keys = NONE
    waits: int = 0
    sure: bool = False
    promised: Keys = NONE


def _up_to(number: int) -> int:
    """Return the sweeps up to a number, as bits."""
    return (2 << number) - 2


class State(NamedTuple):
    """Everything. `others`: so many sweeps are to come that take nothing of ours."""

    store: Store
    sweeps: tuple[Sweep, ...]
    pushes: tuple[Push, ...]
    records: tuple[Record, ...] = ()
    others: int = 0

    @property
    def highest(self) -> int:
        return max((one.number for one in self.records), default=0)

    @property
    def over(self) -> int:
        """The sweeps that are over (bits), as a listing tells: those whose records are gone too."""
        going = sum(1 << one.number for one in self.records if not one.over)
        return _up_to(self.highest) & ~going

    def with_sweep(self, place: int, sweep: Sweep) -> "State":
        return self._replace(sweeps=(*self.sweeps[:place], sweep, *self.sweeps[place + 1 :]))

    def with_push(self, place: int, push: Push) -> "State":
        return self._replace(pushes=(*self.pushes[:place], push, *self.pushes[place + 1 :]))

    def is_open(self, number: int) -> bool:
        return any(one.number == number and not one.over for one in self.records)

    def with_end(self, number: int) -> "State":
        records = (one._replace(over=one.over or one.number == number) for one in self.records)
        return self._replace(records=tuple(records))
