"""The examples of docs/importing-policies.md: each is imported, and gives what stands below it."""

import re
from pathlib import Path

import pytest

from jettison.configuration.policy_file import write_policy
from jettison.configuration.policy_import import import_policy
from jettison.model.retention.importing.systems import SYSTEMS

PAGE = Path(__file__).parents[3] / "docs" / "importing-policies.md"
EXAMPLE = re.compile(
    r"<!-- import: (\w+) ?(\S*) -->\n(?:<!-- run: [^\n]* -->\n)?"
    r"```\w+\n(.*?)```\n\n```yaml\n(.*?)```",
    re.DOTALL,
)
EXAMPLES = {found[1]: found for found in EXAMPLE.finditer(PAGE.read_text("utf-8"))}


@pytest.mark.parametrize("system", SYSTEMS)
def test_example(system: str) -> None:
    _, attached_to, original, result = EXAMPLES[system].groups()
    found = import_policy(original.encode(), "FILE", system, attached_to or None)
    assert write_policy(found.policy) == result
