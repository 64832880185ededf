"""A retention policy as a YAML file: read with every error at once, each with its line and key.

``remove``, ``keep`` and the other members are those of :mod:`jettison.model.retention.policy`. What
is easily forgotten is an error here: a rule about tags that names none, a rule that does nothing.
"""

from pathlib import Path
from typing import Any, Final

import msgspec

from jettison.configuration.document import dump_yaml
from jettison.configuration.typed_yaml import TypedYaml
from jettison.errors import ConfigurationError, InvalidPolicy, Refused, storage_errors
from jettison.model import codec
from jettison.model.retention.mistakes import find_mistakes
from jettison.model.retention.policy import Policy

__all__ = [
    "parse_policy",
    "policy_schema",
    "read_policy",
    "require_useful",
    "write_policy",
]

_MOST_BYTES: Final = 512 * 1024
_MOST_SHOWN: Final = 20


def read_policy(path: Path | str) -> Policy:
    """Read a policy from a file.

    Raises :class:`~jettison.errors.InvalidPolicy` that names each line and key that is wrong.
    """
    path = Path(path)
    with storage_errors("read", path), path.open("rb") as file:
        raw = file.read(_MOST_BYTES + 1)
    return parse_policy(raw, str(path))


def parse_policy(raw: bytes | str, what: str = "the policy") -> Policy:
    """Read a policy from text; ``what`` names it in errors.

    Raises :class:`~jettison.errors.InvalidPolicy` that names each line and key that is wrong.
    """
    if len(raw) > _MOST_BYTES:
        raise InvalidPolicy(f"{what} is larger than {_MOST_BYTES:,} bytes, and no policy")
    try:
        document = TypedYaml(raw, what)
    except ConfigurationError as error:
        raise InvalidPolicy(error.message, hint="Policies are YAML.") from None
    if not document.holds_keys:
        message = f"{what}, line 1: it holds no keys, and is no policy"
        raise InvalidPolicy(message, hint="It begins with `rules:`; see docs/retention.md.")
    policy: Policy | None = document.read(Policy)
    if policy is not None:
        for steps, message in find_mistakes(policy):
            document.add(steps, message)
        if not document.mistakes:
            return policy
    told = [f"line {one.line}: {one.key}: {one.message}" for one in sorted(document.mistakes)]
    hint = f"See docs/retention.md, and try it: jettison policy test {what}"
    if len(told) == 1:
        raise InvalidPolicy(f"{what}, {told[0]}", hint=hint)
    more = [f"  and {len(told) - _MOST_SHOWN} more"] if len(told) > _MOST_SHOWN else []
    shown = [f"  {line}" for line in told[:_MOST_SHOWN]]
    raise InvalidPolicy("\n".join([f"{what}: {len(told)} mistakes:", *shown, *more]), hint=hint)


def require_useful(policy: Policy) -> None:
    """Raise :class:`Refused` for a policy that can remove nothing (a circuit breaker)."""
    if any(rule.removes for rule in policy.rules):
        return
    message = "the policy removes nothing: no rule has remove"
    if not policy.rules:
        message = "the policy is empty: it has no rules"
    raise Refused(message, hint="Write `remove: rest`, or say --keep-last 10 or --untagged 7d.")


def policy_schema() -> dict[str, Any]:
    """Return the JSON schema of a policy file."""

    def schema_of(kind: type) -> dict[str, Any]:
        patterns = {"Period": r"^(\d+\s*(s|min|h|d|w|mo|y)\s*)+$", "Share": r"^[0-9.]+ *%?$"}
        return {"type": "string", **({"pattern": p} if (p := patterns.get(kind.__name__)) else {})}

    schema = msgspec.json.schema(Policy, schema_hook=schema_of)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def write_policy(policy: Policy) -> str:
    """Return a policy as the YAML that reads as the same one."""
    return dump_yaml(codec.plain(policy))
