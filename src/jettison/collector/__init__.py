"""The collector of a storage tree: mark what lives, plan what goes, sweep it.

``plan_collection`` looks and changes nothing; ``collect`` executes that very plan. What is
promised is in docs/storage.md.
"""

from jettison.collector.mark import AssumedRemoval, HeldManifest
from jettison.collector.plan import (
    CollectionPlan,
    CollectOptions,
    HeldBack,
    Tally,
)
from jettison.collector.planning import plan_collection
from jettison.collector.sweep import CollectionReceipt, collect

__all__ = [
    "AssumedRemoval",
    "CollectOptions",
    "CollectionPlan",
    "CollectionReceipt",
    "HeldBack",
    "HeldManifest",
    "Tally",
    "collect",
    "plan_collection",
]
