"""A policy as options: what it is, and that every error names the option that it is about."""

from pathlib import Path

import pytest

from jettison.cli.policy_options import PolicyFlags
from jettison.configuration.policy_file import parse_policy
from jettison.errors import UsageError
from tests.support.cli import Jettison


def test_options_are_the_policy_that_a_file_would_be() -> None:
    flags = PolicyFlags(
        match=["pr-*"],
        but=["pr-1"],
        group_by="re:(pr)-.*",
        clock="created",
        last=3,
        within="1d",
        keep_tag=["v*"],
        untagged="7d",
        orphans="30d",
    )
    text = """
    protect: {tags: ["v*"]}
    rules:
    - tags: ["pr-*"]
      except_tags: ["pr-1"]
      group_by: "re:(pr)-.*"
      clock: created
      keep: {last: 3, within: 1d}
      remove: rest
    - {state: untagged, remove: {older_than: 7d}}
    - {state: orphaned, remove: {older_than: 30d}}
    """
    assert flags.policy().fingerprint == parse_policy(text).fingerprint


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"match": ["a,b"], "last": 2}, "--match: 'a,b'"),
        ({"match": [""], "last": 2}, "--match: an empty pattern"),
        ({"but": ["a,b"], "last": 2}, "--except: 'a,b'"),
        ({"keep_tag": ["a,b"], "last": 2}, "--keep-tag: 'a,b'"),
        ({"group_by": "x", "last": 2}, "--group-by: 'x'"),
        ({"clock": "bogus", "last": 2}, "--clock: 'bogus'"),
        ({"clock": "untagged", "last": 2}, "--clock: 'untagged'"),
        ({"time_zone": "Mars", "last": 2}, "--time-zone: 'Mars'"),
        ({"within": "5m"}, "--keep-within: '5m'"),
        ({"within": "0d"}, "--keep-within: 0d"),
        ({"pulled_within": "0d"}, "--keep-pulled-within: 0d"),
        ({"older_than": "7"}, "--older-than: '7'"),
        ({"older_than": "0d"}, "--older-than: 0d"),
        ({"not_pulled_within": "0d"}, "--not-pulled-within: 0d"),
        ({"untagged": "0d"}, "--untagged: 0d"),
        ({"orphans": "x"}, "--orphans: 'x'"),
        ({"older_than": "7d", "beyond": 3}, "--older-than and --beyond"),
        ({"and_beyond": 3}, "--and-beyond goes with --older-than"),
        ({"older_than": "7d", "and_beyond": 3, "or_beyond": 2}, "--and-beyond and --or-beyond"),
        ({"match": ["v*"], "untagged": "7d"}, "--match: no option"),
        ({"clock": "created", "untagged": "7d"}, "--clock: no option"),
    ],
)
def test_error_names_the_option(options: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError) as error:
        PolicyFlags(**options).policy()  # type: ignore[arg-type]
    assert error.value.message.startswith(told)


def test_tags_that_are_kept_beside_a_file_are_checked(jettison: Jettison, tmp_path: Path) -> None:
    policy = tmp_path / "p.yml"
    policy.write_text('rules: [{tags: ["*"], keep: {last: 3}, remove: rest}]')
    command = ("prune", "127.0.0.1:1", "--policy", policy, "-n")
    assert "--keep-tag: 'v*,w*'" in jettison(*command, "--keep-tag", "v*,w*", check=2).stderr
    assert "--max-removal: '2'" not in jettison(*command, "--max-removal", "2", check=10).stderr
    assert "--max-removal: '200'" in jettison(*command, "--max-removal", "200", check=2).stderr
