"""A plan of a prune as ``-o json`` prints it: codes, figures and sentences, times as RFC 3339."""

from typing import TYPE_CHECKING, Any

from jettison.model import codec
from jettison.model.times import rfc3339

if TYPE_CHECKING:
    from jettison.model.retention.prune_plan import PrunePlan

__all__ = ["document_of"]


def document_of(made: "PrunePlan") -> dict[str, Any]:
    """Return a plan as plain values, each time beside its ``source``."""
    found: dict[str, Any] = codec.plain(made)
    found["decided"] = rfc3339(made.decided)
    for shown, one in zip(found["decisions"], made.decisions, strict=True):
        shown["sentence"] = one.sentence
        if one.time is not None:
            shown["time"], shown["source"] = rfc3339(one.time.seconds), one.time.source
    return found
