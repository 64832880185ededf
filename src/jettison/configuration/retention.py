"""What of the section ``jettison`` concerns retention: which pulls count, and what never goes."""

from typing import TYPE_CHECKING

from jettison.configuration.section import Section
from jettison.configuration.settings import PullRecords
from jettison.errors import InvalidPolicy

if TYPE_CHECKING:
    from jettison.model.retention.patterns import Pattern

__all__ = ["read_immutable", "read_pulls"]


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
