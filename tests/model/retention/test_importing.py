"""What imports make of the corners of each system, and how they refuse what is not its file."""

from typing import Any

import pytest

from jettison.cli.policy import OtherSystem
from jettison.configuration.policy_import import import_policy
from jettison.errors import InvalidPolicy
from jettison.model.retention.importing.draft import Imported
from jettison.model.retention.importing.expressions import (
    Untranslatable,
    anchored,
    repository_globs,
    searched,
    tag_globs,
)
from jettison.model.retention.importing.systems import SYSTEMS
from jettison.model.retention.patterns import matcher
from jettison.model.retention.policy import Remove, Rule


def imported(system: str, text: str, attached_to: str | None = "team/app") -> Imported:
    return import_policy(text.encode(), "FILE", system, attached_to)


def rules(found: Imported) -> dict[str, Rule]:
    return {rule.name: rule for rule in found.policy.rules}


def ecr(*rules: str) -> str:
    """A lifecycle policy, from `PRIORITY SELECTION`s."""
    expire = '"action": {"type": "expire"}'
    parts = [rule.partition(" ") for rule in rules]
    made = [f'{{"rulePriority": {at}, "selection": {which}, {expire}}}' for at, _, which in parts]
    return f'{{"rules": [{", ".join(made)}]}}'


COUNT = '"countType": "imageCountMoreThan", "countNumber"'
DAYS = '"countType": "sinceImagePushed", "countUnit": "days", "countNumber"'


def test_command_knows_every_system() -> None:
    assert {str(one) for one in OtherSystem} == SYSTEMS.keys()


def test_list_of_ecr_is_and() -> None:
    found = imported(
        "ecr",
        ecr(
            f'1 {{"tagStatus": "tagged", "tagPrefixList": ["dev", "prod"], {COUNT}: 1}}',
            f'2 {{"tagStatus": "any", {COUNT}: 5}}',
        ),
    )
    assert "rule 1" not in rules(found)
    assert any("needs a tag of each" in question for question in found.questions)
    assert any("dev*, prod*" in what for what in found.untranslated)
    rest = rules(found)["rule 2"]
    assert (rest.except_tags, rest.repositories) == (("dev*", "prod*"), ("team/app",))
    assert rest.keep is not None
    assert rest.keep.tags == ("dev*", "prod*")


def test_prefix_that_another_begins_with_is_one_condition() -> None:
    text = ecr(f'1 {{"tagStatus": "tagged", "tagPrefixList": ["v", "v1"], {COUNT}: 3}}')
    assert rules(imported("ecr", text))["rule 1"].tags == ("v1*",)


@pytest.mark.parametrize("limit", [f"{COUNT}: 9999", f"{DAYS}: 3650"])
def test_expiry_that_never_comes_protects(limit: str) -> None:
    text = ecr(f'1 {{"tagStatus": "tagged", "tagPatternList": ["prod*"], {limit}}}')
    found = imported("ecr", text)
    assert found.policy.protect.tags == ("prod*",)
    assert found.policy.rules == ()


@pytest.mark.parametrize(
    ("description", "limit", "asks"),
    [
        ("Expire after 10 days", f"{DAYS}: 1", True),
        ("Expire after 10 days", f"{DAYS}: 10", False),
        ("Two weeks: 14 days, v1.2 too", f"{DAYS}: 14", False),
        ("After 2 weeks", f"{DAYS}: 14", False),
        ("After 2 weeks", f"{DAYS}: 2", True),
        ("Keep 30 images", f"{COUNT}: 3", True),
        ("Keep 30 images for 3 days", f"{COUNT}: 30", False),
        ("Keep images of 7 days", f"{COUNT}: 30", False),
        ("Release 2", f"{COUNT}: 30", False),
    ],
)
def test_text_beside_a_rule_of_ecr_that_says_something_else(
    description: str, limit: str, asks: bool
) -> None:
    rule = f'{{"tagStatus": "tagged", "tagPrefixList": ["v"], {limit}}}'
    text = ecr(f"1 {rule}").replace('"action"', f'"description": "{description}", "action"')
    asked = [one for one in imported("ecr", text).questions if "Which is meant?" in one]
    assert bool(asked) == asks
    assert all(repr(description) in one for one in asked)


def test_comment_above_a_purge_that_says_something_else() -> None:
    text = "# those older than 30 days\nacr purge --filter 'a:.*' --ago {} --untagged"
    asked = {
        ago: any(
            "Which is meant?" in one for one in imported("acr", text.format(ago), None).questions
        )
        for ago in ("14d", "30d", "720h")
    }
    assert asked == {"14d": True, "30d": False, "720h": False}
    apart = "# 30 days\necho\nacr purge --filter 'a:.*' --ago 14d"
    assert not any("Which is meant?" in one for one in imported("acr", apart, None).questions)


def test_azure_keeps_of_all_filters_together() -> None:
    several = "acr purge --filter 'a:^dev' --filter 'a:^pr' --ago 7d --keep 3"
    each = "acr purge --filter 'a:^dev' --filter 'b:^pr' --ago 7d --keep 3"
    for text, asks in ((several, True), (each, False)):
        found = imported("acr", text, None)
        assert any("several filters" in question for question in found.questions) == asks


def test_azure_keeps_among_the_old() -> None:
    found = imported("acr", "acr purge --filter 'app:^pr-' --ago 7d --keep 3", None)
    assert rules(found)["purge"].remove == Remove(older_than="7d", leaving=3)  # type: ignore[arg-type] # parsed elsewhere
    assert any("and_beyond: 3" in question for question in found.questions)


@pytest.mark.parametrize(
    "text",
    [
        "acr purge --filter 'app:.*' --ago 7d --untagged",
        "PURGE_CMD=\"acr purge --filter 'app:.*' --untagged \\\n  --ago 7d\"\naz acr task create",
        "az acr run -r x --cmd \"acr purge --filter 'app:.*' --ago=7d --untagged\" /dev/null",
        "steps:\n- cmd: acr purge --filter 'app:.*' --untagged --ago 7d\n",
        "steps:\n  - cmd: mcr.microsoft.com/acr/acr-cli:0.5 purge -f app:.* --ago 7d --untagged\n",
    ],
)
def test_azure_in_scripts_and_tasks(text: str) -> None:
    found = rules(imported("acr", text, None))
    assert found["purge"].tags == ("*",)
    assert found["purge"].repositories == ("app",)
    assert found["purge, untagged"].remove == Remove(older_than="7d")  # type: ignore[arg-type] # parsed elsewhere


def test_zot_takes_the_first_policy_of_a_repository_and_the_first_entry_of_a_tag() -> None:
    found = rules(
        imported(
            "zot",
            """{"storage": {"retention": {"delay": "48h", "policies": [
            {"repositories": ["infra/*"],
             "keepTags": [{"patterns": ["^v2"]},
                          {"patterns": ["-prod$"], "mostRecentlyPulledCount": 3}]},
            {"repositories": ["**"], "deleteUntagged": false,
             "keepTags": [{"pulledWithin": "168h"}]}
            ]}}}""",
            None,
        )
    )
    assert found["policy 1, entry 2"].except_tags == ("re:v2.*",)
    assert found["policy 1, other tags"].remove == "all"
    assert found["policy 1, other tags"].except_tags == ("re:v2.*", "re:.*-prod")
    assert found["policy 2, entry 1"].except_repositories == ("re:infra/[^/]*",)
    assert "policy 2, other tags" not in found
    assert "policy 2, untagged" not in found


def test_disabled_policies_remove_nothing() -> None:
    gitlab = '{"enabled": false, "keep_n": 1, "name_regex_delete": ".*"}'
    zot = (
        '{"retention": {"dryRun": true, "policies": [{"repositories": ["**"], "keepTags": [{}]}]}}'
    )
    gitea = "enabled: false\nkeep_count: 1"
    azure = "acr purge --filter 'a:.*' --ago 1d --dry-run"
    for system, text in (("gitlab", gitlab), ("zot", zot), ("gitea", gitea), ("acr", azure)):
        attached_to = None if system in {"zot", "acr"} else "team"
        found = imported(system, text, attached_to)
        assert found.policy.rules == ()
        assert found.untranslated


def test_harbor_selector_that_is_not_understood_removes_nothing_of_what_it_may_be_about() -> None:
    text = """{"rules": [{"action": "retain", "template": "latestPushedK",
      "params": {"latestPushedK": 1},
      "tag_selectors": [{"kind": "label", "decoration": "withLabels", "pattern": "x"}],
      "scope_selectors": {"repository": [{"decoration": "repoMatches", "pattern": "**"}]}}]}"""
    found = imported("harbor", text, "library")
    keep = rules(found)["rule 1"].keep
    assert keep is not None
    assert keep.tags == ("*",)
    assert found.untranslated


def test_alternatives_without_parentheses_are_as_gitlab_reads_them() -> None:
    text = '{"enabled": true, "keep_n": 1, "name_regex_delete": ".*", "name_regex_keep": "main|v1"}'
    found = imported("gitlab", text)
    keeps = matcher(rules(found)["cleanup"].except_tags)
    assert [tag for tag in ("main", "main-dev", "v1", "v10", "dev-v1") if keeps(tag)] == [
        *("main", "main-dev", "v1", "dev-v1")
    ]
    assert any("parentheses" in question for question in found.questions)


@pytest.mark.parametrize(
    ("expression", "matching", "others"),
    [
        ("v1", ["v1", "v10", "dev1v1"], ["v2"]),
        ("^v1$", ["v1"], ["v10", "xv1"]),
        ("^v|prod$", ["v2", "my-prod"], ["prod-1"]),
        (r"\.x$", ["1.x"], ["1.xy", "1x"]),
        (r"a\$?$", ["a", "ba"], ["ab"]),
    ],
)
def test_expressions_that_may_match_anywhere(
    expression: str, matching: list[str], others: list[str]
) -> None:
    matches = matcher([searched(expression)])
    assert [name for name in matching + others if matches(name)] == matching


@pytest.mark.parametrize("expression", ["(?!v).*", "a)(b", "(?<=v)1", "*"])
def test_what_is_no_expression_of_re2_is_not_translated(expression: str) -> None:
    for translate in (searched, anchored):
        with pytest.raises(Untranslatable):
            translate(expression)


@pytest.mark.parametrize(
    ("glob", "matching", "others"),
    [
        ("infra/*", ["infra/a"], ["infra", "infra/a/b", "xinfra/a"]),
        ("infra/**", ["infra/a", "infra/a/b"], ["infra", "infrax"]),
        ("**/app", ["app", "a/app", "a/b/app"], ["xapp", "app/a"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab", "a/xb"]),
        ("{a,b/*}", ["a", "b/c"], ["b", "a/c"]),
        ("a?[0-9]", ["ax1"], ["a/1", "ax", "axx"]),
        ("a.b", ["a.b"], ["axb"]),
        ("a*c", ["abc", "ac"], ["a/c"]),
    ],
)
def test_globs_of_repositories(glob: str, matching: list[str], others: list[str]) -> None:
    matches = matcher(repository_globs(glob))
    assert [name for name in matching + others if matches(name)] == matching
    within = matcher(repository_globs(glob, "team/"))
    assert [name for name in matching + others if within(f"team/{name}")] == matching
    assert not any(map(within, matching))


def test_globs_of_tags() -> None:
    assert tag_globs("**") == ("*",)
    assert tag_globs("{v*,release-*}") == ("v*", "release-*")
    matches = matcher(tag_globs("v[0-9]"))
    assert matches("v1")
    assert not matches("v10")
    with pytest.raises(Untranslatable):
        tag_globs("{a,{b,c}}")


REFUSED: dict[str, tuple[str, Any]] = {
    "broken JSON": ("ecr", '{"rules": [\n  {"rulePriority": 1,,}]}'),
    "broken YAML": ("gitlab", "enabled: true\nkeep_n: [1"),
    "no text": ("quay", b"\xff\xfe"),
    "of another system": ("ecr", '{"storage": {"retention": {}}}'),
    "zot: of another system": ("zot", '{"rules": []}'),
    "harbor: of another system": ("harbor", "policies: []"),
    "gitlab: of another system": ("gitlab", "rules: []"),
    "quay: of another system": ("quay", "rules: []"),
    "gitea: of another system": ("gitea", "rules: []"),
    "gar: of another system": ("gar", "rules: []"),
    "acr: no purge": ("acr", "docker image prune --all"),
    "acr: no filter": ("acr", "acr purge --ago 7d --untagged"),
    "acr: an option of later": ("acr", "acr purge --filter a:b --ago 7d --only-odd"),
    "acr: a variable": ("acr", 'acr purge --filter "$REPO:.*" --ago 7d'),
    "acr: no age": ("acr", "acr purge --filter a:b --ago soon"),
    "ecr: no number": (
        "ecr",
        ecr(f'1 {{"tagStatus": "any", {DAYS}: 7}}').replace(": 7}", ': "soon"}'),
    ),
    "ecr: a key of later": (
        "ecr",
        ecr(f'1 {{"tagStatus": "any", "onlyOn": "Monday", {DAYS}: 7}}'),
    ),
    "gar: a key of later": (
        "gar",
        '[{"name": "a", "action": {"type": "Delete"},\n "condition": {"tagged": "yes"}}]',
    ),
    "gar: delete without a condition": ("gar", '[{"action": {"type": "Delete"}}]'),
    "gar: no duration": (
        "gar",
        '[{"action": {"type": "Delete"}, "condition": {"olderThan": "soon"}}]',
    ),
    "zot: a list for a section": ("zot", '{"storage": {"retention": []}}'),
    "harbor: no number": (
        "harbor",
        """rules:
- template: latestPushedK
  params: {latestPushedK: many}
  tag_selectors: [{decoration: matches, pattern: '**'}]
  scope_selectors: {repository: [{decoration: repoMatches, pattern: '**'}]}
""",
    ),
    "quay: another method": ("quay", '{"method": "by_mood", "value": 1}'),
    "zot: attached": ("zot", '{"retention": {}}'),
}


def test_refusals(pytestconfig: pytest.Config) -> None:
    """Each says where, and what was expected: tests/model/retention/refused-imports.txt."""
    told = []
    for name, (system, text) in REFUSED.items():
        raw = text if isinstance(text, bytes) else text.encode()
        with pytest.raises(InvalidPolicy) as caught:
            import_policy(raw, "FILE", system, "x" if name == "zot: attached" else None)
        told.append(f"{name}: {caught.value.message}")
    path = pytestconfig.rootpath / "tests/model/retention/refused-imports.txt"
    text = "\n".join(told) + "\n"
    if pytestconfig.getoption("--golden"):
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8"), "if that is meant: pytest --golden"


GOOGLE = """
cleanupPolicies:
  old:
    action: Delete
    condition: {tagState: any, olderThan: 30d, packageNamePrefixes: [team%2Fapp]}
"""


def test_a_dry_run_of_google_removes_nothing() -> None:
    found = imported("gar", f"cleanupPolicyDryRun: true\n{GOOGLE}")
    assert found.policy.rules == ()
    assert any("cleanupPolicyDryRun" in what for what in found.untranslated)


def test_immutable_tags_of_google_stay() -> None:
    found = imported("gar", f"dockerConfig: {{immutableTags: true}}\n{GOOGLE}")
    assert rules(found).keys() == {"old, untagged"}
    assert any("immutable" in what for what in found.untranslated)


def test_a_slash_in_a_package_of_google_is_written_as_in_a_path() -> None:
    found = imported("gar", GOOGLE, "project/repository")
    assert rules(found)["old"].repositories == ("project/repository/team/app*",)


@pytest.mark.parametrize("below", ["{}", "{retention: {policies: []}}"])
def test_sub_paths_of_zot_are_left(below: str) -> None:
    text = f"""
    storage:
      subPaths: {{/a: {below}, /b/c: {{}}}}
      retention: {{policies: [{{repositories: ["**"], keepTags: [{{patterns: ["v.*"]}}]}}]}}
    """
    found = imported("zot", text, None)
    assert found.policy.rules
    for rule in found.policy.rules:
        assert {"a/*", "b/c/*"} <= set(rule.except_repositories)
    assert any("subPaths" in what for what in found.untranslated)


@pytest.mark.parametrize(
    "selection",
    ['"tagPrefixList": [""]', '"tagPatternList": [""]', '"tagPatternList": ["a]"]'],
)
def test_a_pattern_of_nothing_and_of_everything_is_an_error(selection: str) -> None:
    with pytest.raises(InvalidPolicy, match="FILE"):
        imported("ecr", ecr(f'1 {{"tagStatus": "tagged", {selection}, {COUNT}: 1}}'))


@pytest.mark.parametrize(
    ("system", "text"),
    [
        ("gitlab", "enabled: true\nkeep_n: 1\nname_regex_delete: '.*'"),
        (
            "harbor",
            """
            rules:
            - template: latestPushedK
              params: {latestPushedK: 1}
              tag_selectors: [{decoration: matches, pattern: "**"}]
              scope_selectors: {repository: [{decoration: repoMatches, pattern: "**"}]}
            """,
        ),
    ],
)
def test_what_another_system_holds_elsewhere_is_asked(system: str, text: str) -> None:
    found = imported(system, text)
    assert any("immutab" in question for question in found.questions)
