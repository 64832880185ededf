"""What of the section ``jettison`` concerns retention.

That is: which pulls count, what never goes, and a policy that the server prunes by.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from jettison.configuration.section import Section
from jettison.configuration.settings import PullRecords, ScheduledRetention, Storage
from jettison.errors import ConfigurationError, InvalidPolicy, JettisonError

if TYPE_CHECKING:
    from jettison.model.retention.patterns import Pattern
    from jettison.model.retention.policy import Policy
    from jettison.model.retention.schedule import Schedule

__all__ = ["read_immutable", "read_pulls", "read_retention"]

_UNDO_WINDOW: Final = 7 * 86400.0


def read_pulls(section: Section) -> PullRecords:
    """Read whether pulls are written down, and which."""
    return PullRecords(
        enabled=section.flag("enabled", default=True),
        ignore_agents=_patterns(section, "ignore_agents"),
        ignore_users=_patterns(section, "ignore_users"),
        across_restarts=section.flag("across_restarts", default=False),
    )


def read_immutable(ours: Section) -> "tuple[Pattern, ...]":
    """Read which tags are immutable, for the server and for a removal from its storage."""
    return _patterns(ours, "immutable")


def read_retention(ours: Section, storage: Storage) -> ScheduledRetention | None:
    """Read the policy that the server prunes by, and when; None if it does not.

    The file of the policy is read too.
    """
    if not ours.holds("retention"):
        return None
    section = ours.section("retention")
    if storage.readonly:
        allowed = "Remove it, or storage.maintenance.readonly."
        ours.bad("retention", "needs a storage that is not read-only", allowed)
    if not storage.delete_enabled:
        allowed = "Set storage.delete.enabled: true, or remove it."
        ours.bad("retention", "needs a registry that deletes", allowed)
    section.needed("policy")
    file = section.path("policy")
    policy = None if file is None else _policy(section, file)
    zone = section.text("time_zone") or ("UTC" if policy is None else policy.time_zone)
    schedule = _schedule(section, zone)
    window = section.seconds("undo_window", _UNDO_WINDOW, unit=True)
    collect = section.flag("collect", default=False)
    if file is None or policy is None or schedule is None:
        return None
    return ScheduledRetention(file, policy, schedule, window, collect)


def _policy(section: Section, file: Path) -> "Policy | None":
    # Imported here, as below: most configurations have none.
    from jettison.configuration.policy_file import read_policy, require_useful  # noqa: PLC0415

    try:
        policy = read_policy(file)
        require_useful(policy)
    except JettisonError as error:
        section.bad("policy", f"cannot be used: {error.message}", error.hint or "")
        return None
    return policy


def _schedule(section: Section, zone: str) -> "Schedule | None":
    from jettison.model.retention.mistakes import is_time_zone  # noqa: PLC0415 - as above
    from jettison.model.retention.schedule import Schedule  # noqa: PLC0415 - as above

    text = section.needed("schedule")
    known = is_time_zone(zone)
    if not known:
        section.bad("time_zone", f"is {zone[:40]!r}", "It is UTC, or such as Europe/Berlin.")
    if not text:
        return None
    try:
        return Schedule.parse(text, zone if known else "UTC")
    except ConfigurationError as error:
        section.bad("schedule", error.message, error.hint or "")
        return None


def _patterns(section: Section, key: str) -> "tuple[Pattern, ...]":
    texts = section.texts(key)
    if not texts:
        return ()
    # Imported here: most configurations have none, and no command is to load RE2 for nothing.
    from jettison.model.retention.patterns import Pattern  # noqa: PLC0415 - see above

    found = []
    for index, text in enumerate(texts):
        try:
            found.append(Pattern(text))
        except InvalidPolicy as error:
            section.bad(f"{key}[{index}]", f"is no pattern: {error.message}", error.hint or "")
    return tuple(found)
