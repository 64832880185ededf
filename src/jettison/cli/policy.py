"""``jettison policy``: work on policies of retention, without a registry."""

from collections.abc import Callable, Mapping
from typing import Final

from jettison.cli.output import write
from jettison.cli.policy_trial import TEST_EXAMPLE, try_policy_file
from jettison.model.printable import ascii_json

__all__ = ["COMMANDS", "SCHEMA_EXAMPLE", "TEST_EXAMPLE", "schema"]

SCHEMA_EXAMPLE = "Example: jettison policy schema > retention.schema.json"


def schema() -> None:
    """Print the JSON schema of a policy file, for editors and for checks before a commit."""
    from jettison.configuration.policy_file import policy_schema

    write(*ascii_json(policy_schema(), indent=2).split("\n"))


COMMANDS: Final[Mapping[str, Callable[..., None]]] = {
    "test": try_policy_file,
    "schema": schema,
}
