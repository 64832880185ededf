"""Numbers in a policy file, where YAML reads text as something else."""

import pytest

from jettison.configuration.policy_file import parse_policy
from jettison.errors import InvalidPolicy


def test_sizes_and_shares_may_be_numbers() -> None:
    policy = parse_policy(
        'max_removal: 12.5\nrules: [{tags: ["*"], remove: all, larger_than: 1000}]', "policy.yml"
    )
    assert policy.max_removal.value == 0.125
    assert policy.rules[0].larger_than is not None
    assert policy.rules[0].larger_than.bytes == 1000


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rules: [{tags: [1.10], remove: all}]", "rules[0].tags[0]: 1.1 is no text"),
        ("rules: [{tags: [007], remove: all}]", "rules[0].tags[0]: 7 is no text"),
        ('rules: [{tags: ["*"], remove: {older_than: 7}}]', "7 is no text"),
        ('protect: {tags: [true]}\nrules: [{tags: ["*"], remove: all}]', "true is no text"),
        ('max_removal: true\nrules: [{tags: ["*"], remove: all}]', "'True' is no share"),
    ],
)
def test_text_that_yaml_reads_as_something_else_is_an_error(text: str, told: str) -> None:
    with pytest.raises(InvalidPolicy) as raised:
        parse_policy(text, "policy.yml")
    assert told in raised.value.message
