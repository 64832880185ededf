"""A plan of a prune as ``-o json`` prints it: codes, figures and sentences, times as RFC 3339."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from jettison.model import codec
from jettison.model.times import rfc3339

if TYPE_CHECKING:
    from jettison.cli import documents
    from jettison.model.retention.prune_plan import PrunePlan
    from jettison.model.retention.reasons import Decision

__all__ = ["decisions_of", "document_of"]


def document_of(made: "PrunePlan") -> "documents.PruneDetails":
    """Return a plan as plain values, each time beside its ``source``."""
    found: documents.PruneDetails = codec.plain(msgspec.structs.replace(made, decisions=()))
    found["decided"] = rfc3339(made.decided)
    found["decisions"] = decisions_of(made.decisions)
    return found


def decisions_of(decisions: "Sequence[Decision]") -> "list[documents.DatedDecision]":
    """Return decisions as plain values, each with its sentence, and its time with the source."""
    found: list[documents.DatedDecision] = codec.plain(decisions)
    for shown, one in zip(found, decisions, strict=True):
        shown["sentence"] = one.sentence
        if one.time is not None:
            shown["time"], shown["source"] = rfc3339(one.time.seconds), one.time.source
    return found
