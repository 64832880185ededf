"""`jettison policy`."""

import json

from jettison.model.retention.policy import Policy
from tests.support.cli import Jettison


def test_schema_names_every_key_of_a_policy(jettison: Jettison) -> None:
    schema = json.loads(jettison("policy", "schema").stdout)
    assert schema["$defs"]["Policy"]["properties"].keys() == set(Policy.__struct_fields__)


def test_what_is_no_command_of_the_group_is_refused(jettison: Jettison) -> None:
    assert jettison("policy", "shema", check=2).stderr.startswith("error: no such command 'shema'")
    assert "missing command" in jettison("policy", check=2).stderr
