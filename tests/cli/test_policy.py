"""`jettison policy`."""

import json
from pathlib import Path

from jettison.configuration.policy_file import parse_policy
from jettison.model.retention.policy import Policy
from tests.support.cli import Jettison


def test_schema_names_every_key_of_a_policy(jettison: Jettison) -> None:
    schema = json.loads(jettison("policy", "schema").stdout)
    assert schema["$defs"]["Policy"]["properties"].keys() == set(Policy.__struct_fields__)


def test_what_is_no_command_of_the_group_is_refused(jettison: Jettison) -> None:
    assert jettison("policy", "shema", check=2).stderr.startswith("error: no such command 'shema'")
    assert "missing command" in jettison("policy", check=2).stderr


LIFECYCLE = """{"rules": [{"rulePriority": 1, "selection": {"tagStatus": "any",
"countType": "imageCountMoreThan", "countNumber": 5}, "action": {"type": "expire"}}]}"""


def test_import_prints_a_policy_and_asks_on_standard_error(
    jettison: Jettison, tmp_path: Path
) -> None:
    file = tmp_path / "lifecycle.json"
    file.write_text(LIFECYCLE)
    told = jettison("policy", "import", "--from", "ecr", file)
    policy = parse_policy(told.stdout, "policy.yml")
    assert [rule.name for rule in policy.rules] == ["rule 1", "rule 1, untagged"]
    assert "question: In ECR a policy is of one repository" in told.stderr
    found = jettison(
        "policy", "import", "--from", "ecr", file, "--attached-to", "a/b", "-o", "json"
    )
    document = json.loads(found.stdout)
    assert document["policy"]["rules"][0]["repositories"] == ["a/b"]
    assert (document["questions"], document["untranslated"]) == ([], [])


def test_import_says_where_a_file_is_wrong(jettison: Jettison, tmp_path: Path) -> None:
    file = tmp_path / "lifecycle.json"
    file.write_text(LIFECYCLE.replace("5}", '"five"}'))
    told = jettison("policy", "import", "--from", "ecr", file, check=2)
    assert f"{file}, line 2: rules[0].selection.countNumber: expected a whole" in told.stderr
    assert told.stdout == ""
