"""What to do about the space that a registry takes: commands, the most useful first."""

import enum
from collections.abc import Iterator

import msgspec

from jettison.model.times import moment

__all__ = ["Advice", "AdviceCode", "Findings", "advise"]

_KEPT = 10
_SHOWN = 20


class AdviceCode(enum.StrEnum):
    """What a command is for; programs filter by it."""

    LOGIN = "login"
    ENABLE = "enable-deletion"
    COLLECT = "collect"
    PRUNE = "prune"
    CHECK = "check-storage"
    UNTAGGED = "untagged"
    UPLOADS = "unfinished-uploads"
    UNDO = "end-undo"
    TRY_POLICY = "try-policy"
    LOOK = "look"


class Advice(msgspec.Struct, frozen=True):
    """A command (its arguments, without the program) and what it does.

    ``bytes`` are those that it is about; ``bound``: at most so many.
    """

    code: AdviceCode
    arguments: tuple[str, ...]
    why: str
    bytes: int = 0
    bound: bool = False


class Findings(msgspec.Struct, frozen=True):
    """What advice goes by.

    ``target`` names images for commands (a host, a configuration, a folder), with ``options`` that
    such commands need; ``storage`` is what ``gc`` is given, None if there is none, or if something
    keeps it from being collected. ``mendable`` is a configuration in which deletion can be enabled.
    ``refused``: a collection as it is now would be refused. ``problems`` is how many things in the
    storage could not be read. ``uploads`` are the bytes of unfinished uploads that a collection
    leaves, those of pushes that go on among them. ``window_until`` is when the first undo window
    ends, in seconds since the epoch. ``largest`` is the repository that takes most, and the bytes
    that are its own.
    ``policy`` is the file of a policy that frees ``policy_bytes``, at most if ``policy_bound``, and
    that would be refused as it is now if ``policy_refused``.
    """

    target: str
    options: tuple[str, ...] = ()
    storage: str | None = None
    login: bool = False
    mendable: str | None = None
    deletes: bool = True
    garbage: int = 0
    refused: bool = False
    problems: int = 0
    protected: int = 0
    untagged: int = 0
    uploads: int = 0
    undo: int = 0
    window_until: float | None = None
    largest: tuple[str, int] | None = None
    policy: str | None = None
    policy_images: int = 0
    policy_bytes: int = 0
    policy_bound: bool = False
    policy_refused: bool = False


def advise(found: Findings) -> tuple[Advice, ...]:
    """Return what to do: what is in the way, then what frees most, then what shows more.

    A collection needs no deletion over the API, and no restart while the disk is full.
    """
    freeing = sorted(_freeing(found), key=lambda one: -one.bytes)
    return (
        *_logging_in(found),
        *_collecting(found),
        *_enabling(found),
        *freeing,
        *_looking(found),
    )


def _logging_in(found: Findings) -> Iterator[Advice]:
    if found.login:
        yield Advice(AdviceCode.LOGIN, ("login", found.target), "this needs a login")


def _enabling(found: Findings) -> Iterator[Advice]:
    if found.mendable is not None:
        why = "enables deletion; restart the registry then"
        yield Advice(AdviceCode.ENABLE, ("check", "--fix", found.mendable), why)


def _collecting(found: Findings) -> Iterator[Advice]:
    if found.storage is None or not found.garbage:
        return
    arguments: tuple[str, ...] = ("gc", found.storage)
    why = "frees what nothing needs"
    if found.refused:
        arguments = (*arguments, "-n")
        why = "says why what nothing needs is not freed as it is, and which option means it"
    yield Advice(AdviceCode.COLLECT, arguments, why, found.garbage)


def _freeing(found: Findings) -> Iterator[Advice]:
    if found.policy is not None and found.policy_images and found.deletes:
        arguments = ("prune", found.target, "--policy", found.policy, *found.options)
        why = "removes what the policy says; a collection then frees it"
        if found.policy_refused:
            arguments = (*arguments, "-n")
            why = "says why nothing of what the policy says would go, and which option means it"
        yield Advice(AdviceCode.PRUNE, arguments, why, found.policy_bytes, bound=found.policy_bound)
    if found.storage is None:
        return
    if found.problems:
        why = "says what cannot be read, for whose sake nothing of it is collected"
        yield Advice(AdviceCode.CHECK, ("fsck", found.storage), why, found.protected, bound=True)
    if found.untagged:
        arguments = ("gc", found.storage, "--untagged=30d", "-n")
        why = "shows what would go with manifests that have no tag, and are older than 30 days"
        yield Advice(AdviceCode.UNTAGGED, arguments, why, found.untagged, bound=True)
    if found.uploads:
        arguments = ("gc", found.storage, "--uploads=1d", "-n")
        why = "shows what would go with uploads that broke off more than a day ago"
        yield Advice(AdviceCode.UPLOADS, arguments, why, found.uploads, bound=True)
    if found.undo:
        arguments = ("gc", found.storage, "--now", "-n")
        why = "shows what would go without undo windows"
        if found.window_until is not None:
            why += f", of which the first ends by itself on {moment(found.window_until)}"
        yield Advice(AdviceCode.UNDO, arguments, why, found.undo, bound=True)


def _looking(found: Findings) -> Iterator[Advice]:
    if found.largest is None:
        return
    name, size = found.largest
    if found.policy is None and found.deletes:
        arguments = ("prune", found.target, "--keep-last", str(_KEPT), *found.options, "-n")
        why = f"shows what would go if each repository kept its newest {_KEPT} images"
        yield Advice(AdviceCode.TRY_POLICY, arguments, why)
    arguments = ("ls", f"{found.target}/{name}", "--sort", "exclusive", "--limit", str(_SHOWN))
    why = "lists the images of the repository that takes most"
    yield Advice(AdviceCode.LOOK, (*arguments, *found.options), why, size, bound=True)
