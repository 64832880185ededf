"""A retention policy: rules of what is kept and what is removed.

Keep beats remove, whatever the order of the rules, and what no rule names is kept. Rules are
asked from the top for the reason that is told. Periods are strict: an image is older than ``7d``
from the second after seven days on. :mod:`jettison.configuration.policy_file` reads one from a
file.
"""

import enum
from datetime import tzinfo
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec

from jettison.model.codec import plain
from jettison.model.digest import Digest
from jettison.model.retention.patterns import Grouping, Pattern
from jettison.model.retention.period import Period
from jettison.model.retention.quantities import Share, Size

__all__ = ["Clock", "Count", "Keep", "Policy", "Protect", "Remove", "Rule", "State"]

Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
"""A number of images. To keep none is written ``remove: all``, so that it is never by chance."""


class State(enum.StrEnum):
    """Which manifests a rule is about.

    ``orphaned`` are signatures and other referrers whose subject is gone.
    """

    TAGGED = "tagged"
    UNTAGGED = "untagged"
    ORPHANED = "orphaned"


class Clock(enum.StrEnum):
    """Which time of an image counts.

    ``auto`` is ``pushed`` where the registry tells that of any image of the set, else ``created``;
    for an untagged image it is ``untagged``: when it lost its last tag. ``pushed`` is the last push
    of the image or of one of its tags in the set, ``uploaded`` that of the image alone, ``tagged``
    that of a tag of the set alone.
    """

    AUTO = "auto"
    PUSHED = "pushed"
    UPLOADED = "uploaded"
    TAGGED = "tagged"
    CREATED = "created"
    UNTAGGED = "untagged"


class Keep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a rule keeps: an image that any member names stays.

    ``last`` are the newest N images, ``within`` those not older than that. ``hourly`` to ``yearly``
    keep the newest image of each of the last N hours, days, ISO weeks, months, years that have
    one. ``pulled_within`` keeps what was pulled lately, ``last_pulled`` the N images that were
    pulled last. ``tags`` are patterns.
    """

    last: Count | None = None
    within: Period | None = None
    hourly: Count | None = None
    daily: Count | None = None
    weekly: Count | None = None
    monthly: Count | None = None
    yearly: Count | None = None
    pulled_within: Period | None = None
    last_pulled: Count | None = None
    tags: tuple[Pattern, ...] = ()


class Remove(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a rule removes of its set, unless something keeps it.

    ``older_than`` alone, ``beyond`` (the newest N) alone, or ``older_than`` with ``and_beyond``
    (old and beyond the newest N), ``or_beyond`` (either is enough) or ``leaving`` (the newest N of
    those that are old stay, however many are younger). ``not_pulled_within`` further asks that it
    was not pulled for so long; where pulls are not known, it stays.
    """

    older_than: Period | None = None
    beyond: Count | None = None
    and_beyond: Count | None = None
    or_beyond: Count | None = None
    leaving: Count | None = None
    not_pulled_within: Period | None = None


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One rule: the set that it is about, and what it keeps and removes of it.

    The set are images in ``repositories`` with a tag among ``tags`` and not among
    ``except_tags``, in each case patterns of which any is enough. ``artifact_types`` are patterns
    of the artifact's type, or of its config's; without them only images, indexes and artifacts
    with a known form are meant, and no build caches that have a tag.
    ``group_by`` is an expression (``re:…``) whose captured part divides the set: counts are for
    each group. With ``whole_images``, an image that ``keep`` names stays with all its tags, also
    those that are not of the set.

    ``remove`` is ``rest``: all of the set that ``keep`` does not name; ``all``: all of it; or a
    :class:`Remove`. Without it the rule removes nothing.
    """

    name: str = ""
    repositories: tuple[Pattern, ...] = msgspec.field(default_factory=lambda: (Pattern("*"),))
    except_repositories: tuple[Pattern, ...] = ()
    tags: tuple[Pattern, ...] = ()
    except_tags: tuple[Pattern, ...] = ()
    state: State = State.TAGGED
    artifact_types: tuple[Pattern, ...] | None = None
    larger_than: Size | None = None
    smaller_than: Size | None = None
    group_by: Grouping | None = None
    clock: Clock = Clock.AUTO
    whole_images: bool = False
    keep: Keep | None = None
    remove: Remove | Literal["rest", "all"] | None = None

    @property
    def removes(self) -> bool:
        """Whether it can remove anything."""
        return self.remove is not None


class Protect(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What no rule removes: tags and repositories by pattern, manifests by digest."""

    tags: tuple[Pattern, ...] = ()
    repositories: tuple[Pattern, ...] = ()
    digests: tuple[Digest, ...] = ()


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A retention policy.

    ``registry`` is what it is for, if the command names none: a host, a storage's root directory or
    a configuration file. ``time_zone`` is where the days, weeks and months of ``keep`` begin.
    ``max_removal`` is the share of the tags, or of their bytes, that a run may remove at most.
    ``questions`` are what an import could not decide, ``description`` is for people; both have no
    effect.
    """

    registry: str = ""
    rules: tuple[Rule, ...] = ()
    protect: Protect = Protect()
    time_zone: str = "UTC"
    max_removal: Share = msgspec.field(default_factory=lambda: Share("30%"))
    description: str = ""
    questions: tuple[str, ...] = ()

    @property
    def zone(self) -> tzinfo:
        """The time zone."""
        return ZoneInfo(self.time_zone)

    @property
    def fingerprint(self) -> Digest:
        """The digest of what has an effect, the same for the same policy however written."""
        effective = msgspec.structs.replace(self, registry="", description="", questions=())
        raw = msgspec.json.encode(plain(effective), order="sorted")
        return Digest.of(raw)

    def name_of(self, rule: Rule) -> str:
        """Return a rule's name: its own, or its number from 1."""
        return rule.name or f"rule {self.rules.index(rule) + 1}"
