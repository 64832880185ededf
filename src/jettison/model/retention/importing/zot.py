"""The section ``storage.retention`` of zot's configuration.

A repository belongs to the first policy that names it, a tag to the first entry of ``keepTags``
that matches it; a tag that no entry matches is removed. Expressions may match anywhere in a tag.
See https://zotregistry.dev/latest/articles/retention/ and pkg/retention of its source.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from jettison.model.retention.importing.draft import Draft, Imported
from jettison.model.retention.importing.expressions import (
    ALL,
    Untranslatable,
    prefixed,
    repository_globs,
    searched,
)
from jettison.model.retention.importing.reading import Malformed, Node
from jettison.model.retention.patterns import Pattern
from jettison.model.retention.period import Period
from jettison.model.retention.policy import Clock, Keep, Remove, State

__all__ = ["from_zot"]

_DELAY: Final = "24h"
"""That of zot where the configuration has none."""
_DURATION: Final = re.compile(r"(?:\d+h)?(?:\d+m)?(?:\d+s)?")
_ENTRY: Final = (
    *("patterns", "pushedWithin", "pulledWithin"),
    *("mostRecentlyPushedCount", "mostRecentlyPulledCount"),
)
_POLICY: Final = (
    *("repositories", "repoNames", "deleteReferrers", "deleteUntagged"),
    *("keepTags", "keeptags"),
)


def from_zot(document: Node, attached_to: str | None = None) -> Imported:
    """Import a configuration, its section ``storage``, or the section ``retention`` alone."""
    if attached_to is not None:
        raise Malformed("policies of zot name repositories; leave --attached-to out", ())
    draft = Draft("zot's retention")
    storage = document.get("storage") or document
    retention = storage.get("retention")
    if retention is None:
        if document.get("policies") is None and document.get("delay") is None:
            if document.get("storage") is None:
                raise document.refused("zot's configuration, with storage.retention")
            retention = Node({})
        else:
            retention = document
    retention.known("dryRun", "delay", "policies")
    paths = storage.get("subPaths")
    apart = [] if paths is None else [str(path).strip("/") for path in paths.value]
    if paths is not None and any(paths.need(path).get("retention") for path in paths.value):
        draft.keep("retention of subPaths; import each of those sections by itself.")
    elif apart:
        draft.keep(
            f"what is below {', '.join(apart)}: each of subPaths has a retention of its own."
        )
    if _flag(retention, "dryRun", default=False):
        draft.keep("dryRun is true: zot removes nothing, it only tells what it would.")
        return draft.imported()
    if not _flag(storage, "gc", default=True):
        draft.keep("gc is false: zot removes nothing.")
        return draft.imported()
    claimed = [prefixed(f"{path}/") if path else ALL for path in apart]
    _Reader(draft, _duration(retention.get("delay")), claimed).read(retention)
    return draft.imported()


def _flag(node: Node, key: str, *, default: bool) -> bool:
    found = node.get(key)
    return default if found is None else found.flag()


def _duration(node: Node | None) -> Period:
    if node is None:
        return Period(_DELAY)
    text = node.text()
    if not text or _DURATION.fullmatch(text) is None:
        raise node.refused("a duration such as 24h")
    return Period("".join(re.findall(r"[1-9]\d*[hms]", text)) or "0d")


class _Reader:
    """Reads policy after policy, and remembers which repositories earlier ones have."""

    def __init__(self, draft: Draft, delay: Period, claimed: Sequence[Pattern]) -> None:
        self._draft = draft
        self._delay = delay
        self._claimed = list(claimed)

    def read(self, retention: Node) -> None:
        policies = retention.get("policies")
        for number, policy in enumerate([] if policies is None else policies.items(), 1):
            self._policy(f"policy {number}", policy)
        if ALL not in self._claimed:
            self._draft.ask(
                "zot removes untagged manifests also where no policy names a repository. "
                "Is that wanted?"
            )
            self._untagged("other repositories", (ALL,))

    def _policy(self, name: str, policy: Node) -> None:
        policy.known(*_POLICY)
        globs = policy.need("repositories", "repoNames").texts()
        try:
            repositories = [one for glob in globs for one in repository_globs(glob)]
            wide = [one for glob in globs for one in repository_globs(glob, wide=True)]
        except Untranslatable as error:
            # Which repositories it has is not known: the later policies must leave them, too.
            self._draft.keep(f"{name} and those after it: {error}.")
            self._claimed.append(ALL)
            return
        entries = policy.get("keepTags", "keeptags")
        if entries is not None and entries.value:
            self._entries(name, tuple(repositories), list(entries.items()))
        if _flag(policy, "deleteUntagged", default=True):
            self._untagged(f"{name}, untagged", tuple(repositories))
        if _flag(policy, "deleteReferrers", default=False):
            self._draft.keep(
                f"{name}: deleteReferrers; what lost its subject is `state: orphaned` here."
            )
        self._claimed += [one for one in wide if one not in self._claimed]

    def _untagged(self, name: str, repositories: Sequence[Pattern]) -> None:
        if ALL in self._claimed:
            return
        self._draft.add(
            name,
            repositories=tuple(repositories),
            except_repositories=tuple(self._claimed),
            state=State.UNTAGGED,
            remove=Remove(older_than=self._delay),
        )

    def _entries(
        self, name: str, repositories: tuple[Pattern, ...], entries: Sequence[Node]
    ) -> None:
        if ALL in self._claimed:
            return
        where: dict[str, Any] = {
            "repositories": repositories,
            "except_repositories": tuple(self._claimed),
        }
        try:
            patterns = [self._patterns(entry) for entry in entries]
        except Untranslatable as error:
            self._draft.keep(f"{name}: which tags keepTags names: {error}.")
            return
        earlier: list[Pattern] = []
        for number, (entry, tags) in enumerate(zip(entries, patterns, strict=True), 1):
            keep = _keep(entry)
            if ALL in earlier:
                break
            self._draft.add(
                f"{name}, entry {number}",
                tags=tags,
                except_tags=tuple(earlier),
                clock=Clock.UPLOADED,
                keep=keep or Keep(tags=(ALL,)),
                remove=None if keep is None else "rest",
                **where,
            )
            earlier += [one for one in tags if one not in earlier]
        if ALL in earlier:
            return
        self._draft.ask(
            f"{name}: zot removes each tag that no entry of keepTags matches, at once, whatever "
            f"its age. The rule '{name}, other tags' does the same. Is that wanted?"
        )
        self._draft.add(
            f"{name}, other tags", tags=(ALL,), except_tags=tuple(earlier), remove="all", **where
        )

    def _patterns(self, entry: Node) -> tuple[Pattern, ...]:
        entry.known(*_ENTRY)
        texts = entry.get("patterns")
        found = [] if texts is None else [searched(text) for text in texts.texts()]
        for text in () if texts is None else texts.texts():
            if not text.startswith("^") and text not in {".*", ""}:
                self._draft.ask(
                    f"zot looks for {text!r} anywhere in a tag; it is not anchored. Is that meant?"
                )
        return tuple(dict.fromkeys(found)) or (ALL,)


def _keep(entry: Node) -> Keep | None:
    """Return what an entry keeps of its tags; None if all of them."""
    pushed, pulled = entry.get("pushedWithin"), entry.get("pulledWithin")
    within = [_duration(one) for one in _there(pushed, pulled)]
    keep = Keep(
        last=_count(entry, "mostRecentlyPushedCount"),
        # What was pushed within the time of pulledWithin stays, too.
        within=max(within, key=lambda period: -period.before(0.0)) if within else None,
        pulled_within=None if pulled is None else _duration(pulled),
        last_pulled=_count(entry, "mostRecentlyPulledCount"),
    )
    return None if keep == Keep() else keep


def _there(*nodes: Node | None) -> Iterator[Node]:
    for node in nodes:
        if node is not None:
            yield node


def _count(entry: Node, key: str) -> int | None:
    found = entry.get(key)
    return None if found is None else found.number() or None
