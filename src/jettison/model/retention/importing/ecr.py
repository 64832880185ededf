"""Lifecycle policies of Amazon ECR.

An image belongs to the first rule, by priority, whose tags it has; later rules count it, and do not
expire it. All prefixes or patterns of one rule have to be met, each by some tag of the image.
See https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html and
lifecycle_policy_parameters.html beside it.
"""

from typing import Final

from jettison.errors import InvalidDocument
from jettison.model import strict_json
from jettison.model.retention.importing.draft import Draft, Imported
from jettison.model.retention.importing.expressions import ALL, globbed, literal, prefixed
from jettison.model.retention.importing.reading import Node
from jettison.model.retention.patterns import Pattern
from jettison.model.retention.period import Period
from jettison.model.retention.policy import Clock, Keep, Remove, State

__all__ = ["from_ecr"]

_MANY: Final = 9999
_EVER_DAYS: Final = 3650
"""Nobody waits ten years: a rule with that age, or with 9,999 images, is there to protect."""
_MOST: Final = 1_000_000


def from_ecr(document: Node, attached_to: str | None = None) -> Imported:
    """Import a policy, as ``aws ecr get-lifecycle-policy`` or its text has it.

    ``attached_to`` is the repository that has it.
    """
    wrapped = document.get("lifecyclePolicyText")
    if wrapped is not None:
        document = _unwrapped(wrapped)
    draft = Draft("an ECR lifecycle policy", () if attached_to is None else [literal(attached_to)])
    if attached_to is None:
        draft.ask(
            "In ECR a policy is of one repository; this one is about all. Which is it? "
            "Write it in `repositories`, or import with --attached-to."
        )
    rules = sorted(
        document.need("rules").items(), key=lambda rule: rule.need("rulePriority").number(1)
    )
    reader = _Reader(draft)
    for rule in rules:
        reader.read(rule)
    return draft.imported()


def _unwrapped(node: Node) -> Node:
    try:
        return Node(strict_json.decode(node.text().encode(), object), node.steps)
    except InvalidDocument:
        raise node.refused("the JSON of a lifecycle policy") from None


class _Reader:
    """Reads rule after rule, and remembers which images earlier ones have claimed."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._claimed: list[Pattern] = []
        self._untagged_claimed = False

    def read(self, rule: Node) -> None:
        rule.known("rulePriority", "description", "selection", "action")
        selection = rule.need("selection")
        selection.known(
            *("tagStatus", "tagPrefixList", "tagPatternList", "storageClass"),
            *("countType", "countUnit", "countNumber"),
        )
        name = f"rule {rule.need('rulePriority').number(1)}"
        status = selection.need("tagStatus").one_of("tagged", "untagged", "any")
        patterns = self._patterns(name, selection) if status == "tagged" else (ALL,)
        remove = self._removal(name, rule, selection, patterns if status == "tagged" else ())
        if len(patterns) > 1:
            self._several(name, patterns, remove)
            remove = None
        if status != "untagged":
            if remove is not None:
                self._add_tagged(name, patterns, remove)
            self._claimed += [one for one in patterns if one not in self._claimed]
        if status != "tagged":
            if remove is not None and not self._untagged_claimed:
                self._add_untagged(f"{name}, untagged" if status == "any" else name, remove)
            self._untagged_claimed = True

    def _patterns(self, name: str, selection: Node) -> tuple[Pattern, ...]:
        prefixes, globs = selection.get("tagPrefixList"), selection.get("tagPatternList")
        if globs is not None and prefixes is None:
            found = [globbed(one) for one in globs.texts()]
        elif prefixes is None or globs is not None:
            raise selection.refused("one of tagPrefixList and tagPatternList, for tagged images")
        else:
            texts = prefixes.texts()
            # What begins with v1 begins with v.
            found = [
                prefixed(one)
                for one in texts
                if not any(other != one and other.startswith(one) for other in texts)
            ]
        if not found:
            raise selection.refused(f"at least one tag in {name}")
        return tuple(dict.fromkeys(found))

    def _removal(
        self, name: str, rule: Node, selection: Node, patterns: tuple[Pattern, ...]
    ) -> Remove | None:
        """Return what a rule removes, None if it only protects, or has no equivalent."""
        action = rule.need("action").need("type").one_of("expire", "transition")
        kind = selection.need("countType").one_of(
            *("imageCountMoreThan", "sinceImagePushed"),
            *("sinceImagePulled", "sinceImageTransitioned"),
        )
        number = selection.need("countNumber").number(1)
        if kind != "imageCountMoreThan" and (unit := selection.get("countUnit")) is not None:
            unit.one_of("days")
        storage = selection.get("storageClass")
        archived = storage is not None and storage.one_of("standard", "archive") == "archive"
        if action == "transition" or archived or ("Count" not in kind and "Pushed" not in kind):
            what = "moves images to the archive" if action == "transition" else "is of the archive"
            self._draft.keep(f"{name} {what}; there is none here, and it removes nothing.")
            return None
        counts = kind == "imageCountMoreThan"
        if number >= (_MANY if counts else _EVER_DAYS):
            limit = f"more than {number:,} images" if counts else f"older than {number:,} days"
            said = f"{name} expires {limit}, which is written to protect."
            self._draft.protect(patterns)
            self._draft.ask(
                f"{said} It is `protect` here." if patterns else f"{said} It removes nothing here."
            )
            return None
        description = rule.get("description")
        said = "" if description is None else description.text()
        if counts:
            self._draft.compare(name, said, images=number)
            return Remove(beyond=number)
        self._draft.compare(name, said, days=number)
        return Remove(older_than=Period(f"{number}d"))

    def _several(self, name: str, patterns: tuple[Pattern, ...], remove: Remove | None) -> None:
        listed = ", ".join(patterns)
        self._draft.ask(
            f"{name} lists {listed}: in ECR an image needs a tag of each, and few have. "
            "Here it removes nothing, and what has any of these tags is "
            "kept from the later rules. Were they meant each for itself? Then write a rule for "
            "each."
        )
        if remove is not None:
            self._draft.keep(f"{name}: images with a tag of each of {listed}.")

    def _add_tagged(self, name: str, patterns: tuple[Pattern, ...], remove: Remove) -> None:
        claimed = tuple(one for one in self._claimed)
        if ALL in claimed:
            return
        if claimed and remove.beyond is not None:
            self._draft.ask(
                f"{name} counts in ECR also the images of earlier rules ({', '.join(claimed)}), "
                f"which it cannot expire: they take places of its {remove.beyond}. Here they take "
                "none, and more is kept. Is that the number meant?"
            )
        self._draft.add(
            name,
            tags=patterns,
            except_tags=claimed,
            clock=Clock.UPLOADED,
            keep=Keep(tags=claimed),
            remove=remove,
        )

    def _add_untagged(self, name: str, remove: Remove) -> None:
        if remove.older_than is None:
            self._draft.add(name, state=State.UNTAGGED, clock=Clock.UPLOADED, remove=remove)
            return
        self._draft.ask(
            f"{name} counts in ECR from the push of an image, so that an old one goes as soon as "
            "it loses its tag. Here it counts from when it lost its tag. Is that what was meant?"
        )
        self._draft.add(name, state=State.UNTAGGED, remove=remove)
