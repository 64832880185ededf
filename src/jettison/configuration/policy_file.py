"""A retention policy as a YAML file: read with every error at once, each with its line and key.

``remove``, ``keep`` and the other members are those of :mod:`jettison.model.retention.policy`. What
is easily forgotten is an error here: a rule about tags that names none, a rule that does nothing.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import msgspec

from jettison.configuration.document import load_yaml
from jettison.configuration.problems import key_name
from jettison.errors import (
    ConfigurationError,
    InvalidDocument,
    InvalidPolicy,
    Refused,
    storage_errors,
)
from jettison.model import codec
from jettison.model.retention.policy import Clock, Keep, Policy, Protect, Remove, Rule, State

if TYPE_CHECKING:
    from ruamel.yaml.nodes import Node

__all__ = [
    "check_policy",
    "parse_policy",
    "policy_schema",
    "read_policy",
    "require_useful",
    "write_policy",
]

_MOST_BYTES: Final = 4 << 20
_MOST_PROBLEMS: Final = 20
_PATH: Final = re.compile(r"(?P<message>.*?)(?: - at `(?P<path>[^`]*)`)?")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<name>[^`]*)`")
_STEP: Final = re.compile(r"\.([^.\[]+)|\[(\d+)\]|\[\.\.\.\]")


def read_policy(path: Path) -> Policy:
    """Read a policy from a file.

    Raises :class:`~jettison.errors.InvalidPolicy` that names each line and key that is wrong.
    """
    with storage_errors("read", path), path.open("rb") as file:
        raw = file.read(_MOST_BYTES + 1)
    if len(raw) > _MOST_BYTES:
        raise InvalidPolicy(f"{path} is larger than {_MOST_BYTES:,} bytes, and no policy")
    return parse_policy(raw, str(path))


def parse_policy(raw: bytes | str, what: str) -> Policy:
    """Read a policy from text; ``what`` names it in errors."""
    try:
        document = load_yaml(raw, what)
    except ConfigurationError as error:
        raise InvalidPolicy(error.message, hint="Policies are YAML.") from None
    if not isinstance(document, dict):
        message = f"{what} is no policy: it holds no keys"
        raise InvalidPolicy(message, hint="It begins with `rules:`; see docs/retention.md.")
    lines = _Lines(raw)
    found: list[tuple[int, str]] = []
    for _ in range(_MOST_PROBLEMS):
        try:
            policy: Policy = codec.convert(document, Policy)
            break
        except InvalidDocument as error:
            steps, message = _understood(str(error))
            found.append((lines.of(steps), f"{key_name(steps) or 'the policy'}: {message}"))
            if not _without(document, steps):
                break
    if not found:
        found = [
            (lines.of(steps), f"{key_name(steps)}: {message}")
            for steps, message in _mistakes(policy)
        ]
        if not found:
            return policy
    told = sorted(dict.fromkeys(found))
    hint = f"See docs/retention.md, and try it: jettison policy test {what}"
    if len(told) == 1:
        line, message = told[0]
        raise InvalidPolicy(f"{what}, line {line}: {message}", hint=hint)
    shown = [f"  line {line}: {message}" for line, message in told]
    raise InvalidPolicy("\n".join([f"{what}: {len(told)} mistakes:", *shown]), hint=hint)


def _mistakes(policy: Policy) -> Iterator[tuple[list[str | int], str]]:
    """Yield what can be read and cannot be meant, each with its key."""
    try:
        ZoneInfo(policy.time_zone)
    except (KeyError, ValueError, OSError):
        yield ["time_zone"], f"{policy.time_zone!r} is no time zone; write UTC or Europe/Berlin"
    names: dict[str, int] = {}
    for number, rule in enumerate(policy.rules):
        at: list[str | int] = ["rules", number]
        if rule.name and names.setdefault(rule.name, number) != number:
            yield [*at, "name"], f"another rule is called {rule.name!r}"
        for key, message in _mistakes_of(rule):
            yield [*at, *key], message


def _mistakes_of(rule: Rule) -> Iterator[tuple[list[str | int], str]]:
    yield from _mistakes_of_set(rule)
    if rule.keep is None and rule.remove is None:
        yield [], "does nothing; it has neither keep nor remove"
    if rule.keep is not None and rule.keep == Keep():
        yield ["keep"], "keeps nothing; write for example last: 10"
    if rule.remove == "rest" and rule.keep is None:
        yield ["remove"], "the rest of what? Write keep, or remove: all"
    if isinstance(rule.remove, Remove):
        for message in _mistakes_of_removal(rule.remove):
            yield ["remove"], message
    if rule.whole_images and rule.keep is None:
        yield ["whole_images"], "is about what keep names; add keep"
    if rule.clock is Clock.TAGGED and rule.state is not State.TAGGED:
        yield ["clock"], f"what is {rule.state} has no tags; write pushed"
    if rule.clock is Clock.UNTAGGED and rule.state is not State.UNTAGGED:
        yield ["clock"], "only what is untagged has lost its tag; add state: untagged"


def _mistakes_of_set(rule: Rule) -> Iterator[tuple[list[str | int], str]]:
    if not rule.repositories:
        yield ["repositories"], "names no repository; leave it out if all are meant"
    if rule.state is State.TAGGED:
        if not rule.tags:
            yield [], 'names no tags; write tags: ["*"] if all are meant'
        return
    for key in ("tags", "except_tags", "group_by"):
        if getattr(rule, key):
            yield [key], f"what is {rule.state} has no tags"
    if rule.keep is not None and rule.keep.tags:
        yield ["keep", "tags"], f"what is {rule.state} has no tags"


def _mistakes_of_removal(remove: Remove) -> Iterator[str]:
    counts = [remove.beyond, remove.and_beyond, remove.or_beyond, remove.leaving]
    if remove == Remove():
        yield "removes nothing; write for example older_than: 30d"
    if sum(count is not None for count in counts) > 1:
        yield "has several counts; write one of beyond, and_beyond, or_beyond, leaving"
    elif remove.older_than is not None and remove.beyond is not None:
        yield "age and count: write and_beyond (old and beyond N) or or_beyond (either)"
    elif remove.older_than is None and remove.beyond is None and any(counts):
        yield "and_beyond, or_beyond and leaving go with older_than; alone it is beyond"


def require_useful(policy: Policy) -> None:
    """Raise :class:`Refused` for a policy that can remove nothing (a circuit breaker)."""
    if any(rule.removes for rule in policy.rules):
        return
    message = "the policy removes nothing: no rule has remove"
    if not policy.rules:
        message = "the policy is empty: it has no rules"
    raise Refused(message, hint="Write `remove: rest`, or say --keep-last 10 or --untagged 7d.")


def check_policy(policy: Policy) -> None:
    """Raise :class:`InvalidPolicy` for one that cannot be meant, made from options."""
    for steps, message in _mistakes(policy):
        option = "--" + str(steps[-1]).replace("_", "-") if steps else "the policy"
        raise InvalidPolicy(f"{option}: {message}")


def policy_schema() -> dict[str, Any]:
    """Return the JSON schema of a policy file."""

    def schema_of(kind: type) -> dict[str, Any]:
        patterns = {"Period": r"^(\d+\s*(s|m|min|h|d|w|mo|y)\s*)+$", "Share": r"^[0-9.]+ *%?$"}
        return {"type": "string", **({"pattern": p} if (p := patterns.get(kind.__name__)) else {})}

    schema = msgspec.json.schema(Policy, schema_hook=schema_of)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def write_policy(policy: Policy) -> str:
    """Return a policy as the YAML that reads as the same one."""
    from io import StringIO  # noqa: PLC0415 - few commands write one

    from ruamel.yaml import YAML  # noqa: PLC0415 - same

    out = StringIO()
    writer = YAML()
    writer.default_flow_style = False
    writer.width = 100
    writer.dump(codec.plain(policy), out)
    return out.getvalue()


def _understood(message: str) -> tuple[list[str | int], str]:
    """Return the key and the sentence of one of msgspec's errors."""
    found = _PATH.fullmatch(message)
    text, path = (found["message"], found["path"]) if found else (message, "")
    steps: list[str | int] = [
        name or (int(index) if index else 0) for name, index in _STEP.findall(path or "")
    ]
    unknown = _UNKNOWN.fullmatch(text)
    if unknown is not None:
        return [*steps, unknown["name"]], f"there is no such key; known are {_known(steps)}"
    if "Invalid enum value" in text:
        allowed = {"state": State, "clock": Clock}.get(str(steps[-1]) if steps else "")
        if allowed is not None:
            text = f"{text[:1].lower()}{text[1:]}; write {', '.join(allowed)}"
    return steps, text[:1].lower() + text[1:]


def _known(steps: Sequence[str | int]) -> str:
    below = {"rules": Rule, "keep": Keep, "remove": Remove, "protect": Protect}
    named = [below[step] for step in steps if isinstance(step, str) and step in below]
    return ", ".join((named[-1] if named else Policy).__struct_fields__)


def _without(document: Any, steps: Sequence[str | int]) -> bool:  # noqa: ANN401 - parsed YAML
    """Take out the value that is wrong, so that the next error shows; False if there is none."""
    inner = document
    for step in steps[:-1]:
        try:
            inner = inner[step]
        except (KeyError, IndexError, TypeError):
            return False
    try:
        del inner[steps[-1]]
    except (KeyError, IndexError, TypeError):
        return False
    return True


class _Lines:
    """The line of every key of a YAML document, counted from 1."""

    def __init__(self, raw: bytes | str) -> None:
        from ruamel.yaml import YAML  # noqa: PLC0415 - as in document.py

        self._top: Node | None = YAML(typ="rt", pure=True).compose(
            raw.decode() if isinstance(raw, bytes) else raw
        )

    def of(self, steps: Sequence[str | int]) -> int:
        """Return the line of a key, or of what it would be in."""
        node: Any = self._top
        line = 1
        for step in steps:
            value = getattr(node, "value", None)
            if not isinstance(value, list):
                break
            if isinstance(step, int):
                if step >= len(value):
                    break
                node = value[step]
                line = node.start_mark.line + 1
                continue
            pair = next((pair for pair in value if pair[0].value == str(step)), None)
            if pair is None:
                break
            line = pair[0].start_mark.line + 1
            node = pair[1]
        return line
