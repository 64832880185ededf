"""Policy files: what is read, and every mistake with its file, line, key and what is allowed."""

import resource
import textwrap
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison.configuration.document import dump_yaml
from jettison.configuration.policy_file import (
    parse_policy,
    policy_schema,
    read_policy,
    require_useful,
    write_policy,
)
from jettison.errors import InvalidPolicy, Refused, StorageError
from jettison.model.retention.patterns import Pattern
from jettison.model.retention.period import Period
from jettison.model.retention.policy import Keep, Policy, Protect, Remove, Rule

GOOD = """
# What most people need.
description: releases stay, the rest is for a month
time_zone: Europe/Berlin
max_removal: 50%
protect:
  tags: ["v*", latest]
  repositories: [base/*]
rules:
- name: builds
  repositories: [team/*]
  tags: ["*"]
  except_tags: ["re:(main|dev)"]
  keep: {last: 10, within: 2w, daily: 7, tags: ["semver:>=1.2"]}
  remove: rest
- state: untagged
  remove: {older_than: 7d}
"""


def test_a_policy_is_read_as_it_is_written() -> None:
    policy = parse_policy(GOOD, "p.yml")
    first, second = policy.rules
    assert first.keep is not None
    assert (first.keep.last, first.keep.within, first.keep.daily) == (10, "2w", 7)
    assert (first.remove, second.remove) == ("rest", Remove(older_than=Period("7d")))
    assert policy.protect.tags == ("v*", "latest")
    assert policy.max_removal.value == 0.5


def test_sizes_and_shares_may_be_numbers() -> None:
    text = 'max_removal: 12.5\nrules: [{tags: ["*"], larger_than: 1000, remove: all}]'
    policy = parse_policy(text, "p.yml")
    assert policy.max_removal.value == 0.125
    assert policy.rules[0].larger_than is not None
    assert policy.rules[0].larger_than.bytes == 1000


def test_aliases_are_read() -> None:
    text = """
    rules:
    - {repositories: &apps [a, b], tags: ["*"], remove: {older_than: &long 30d}}
    - {repositories: *apps, state: untagged, remove: {older_than: *long}}
    """
    first, second = parse_policy(text, "p.yml").rules
    assert first.repositories == second.repositories == ("a", "b")
    assert first.remove == second.remove


# Line and key of the mistake, words of its message, and the text.
MISTAKES = {
    # What YAML takes for something else than stands there.
    "number-tag": (2, "rules[0].tags[0]", '"1.10"', "rules:\n- {tags: [1.10], remove: all}"),
    "integer-tag": (1, "rules[0].tags[1]", '"2024"', "rules: [{tags: [a, 2024], remove: all}]"),
    "octal-tag": (1, "rules[0].tags[0]", '"010"', "rules: [{tags: [010], remove: all}]"),
    "exponent-tag": (1, "rules[0].tags[0]", '"1e3"', "rules: [{tags: [1e3], remove: all}]"),
    "hex-tag": (1, "rules[0].tags[0]", '"0x1f"', "rules: [{tags: [0x1f], remove: all}]"),
    "yes-tag": (1, "rules[0].tags[0]", '"yes"', "rules: [{tags: [yes], remove: all}]"),
    "on-protected": (1, "protect.tags[0]", '"on"', "protect: {tags: [on]}"),
    "date-tag": (1, "rules[0].tags[0]", "a date", "rules: [{tags: [2024-01-15], remove: all}]"),
    "epoch-tag": (1, "protect.tags[0]", '"1970-01-01"', "protect: {tags: [1970-01-01]}"),
    "null-tag": (1, "rules[0].tags[0]", '"null"', "rules: [{tags: [null], remove: all}]"),
    "tilde-tag": (1, "rules[0].tags[0]", "no value", "rules: [{tags: [~], remove: all}]"),
    "infinite-tag": (1, "protect.tags[0]", '".inf"', "protect: {tags: [.inf]}"),
    "number-name": (1, "rules[0].name", '"7"', "rules: [{name: 7, tags: [a], remove: all}]"),
    "number-digest": (1, "protect.digests[0]", "sha256", "protect: {digests: [12345]}"),
    "number-zone": (1, "time_zone", "a number", "time_zone: 2"),
    "text-count": (
        1,
        "rules[0].keep.last",
        "whole number, 1 to 1,000,000",
        "rules: [{tags: [a], keep: {last: '3'}, remove: rest}]",
    ),
    "octal-count": (
        1,
        "rules[0].keep.last",
        "is 010",
        "rules: [{tags: [a], keep: {last: 010}, remove: rest}]",
    ),
    "no-count": (
        1,
        "rules[0].keep.last",
        "is 0",
        "rules: [{tags: [a], keep: {last: 0}, remove: rest}]",
    ),
    "negative-count": (
        1,
        "rules[0].remove.beyond",
        "is -1",
        "rules: [{tags: [a], remove: {beyond: -1}}]",
    ),
    "half-count": (
        1,
        "rules[0].remove.beyond",
        "is 1.5",
        "rules: [{tags: [a], remove: {beyond: 1.5}}]",
    ),
    "huge-count": (
        1,
        "rules[0].remove.beyond",
        "1,000,000",
        "rules: [{tags: [a], remove: {beyond: 99999999999999999999999}}]",
    ),
    "true-count": (
        1,
        "rules[0].remove.beyond",
        "true or false",
        "rules: [{tags: [a], remove: {beyond: yes}}]",
    ),
    # Periods, sizes, shares, zones.
    "no-unit": (
        1,
        "rules[0].remove.older_than",
        "30d",
        "rules: [{tags: [a], remove: {older_than: 30}}]",
    ),
    "m": (
        1,
        "rules[0].remove.older_than",
        "6min or 6mo",
        "rules: [{tags: [a], remove: {older_than: 6m}}]",
    ),
    "M": (
        1,
        "rules[0].remove.older_than",
        "6min or 6mo",
        "rules: [{tags: [a], remove: {older_than: 6M}}]",
    ),
    "words": (
        1,
        "rules[0].remove.older_than",
        "no period",
        "rules: [{tags: [a], remove: {older_than: two weeks ago}}]",
    ),
    "half-day": (
        1,
        "rules[0].remove.older_than",
        "no period",
        "rules: [{tags: [a], remove: {older_than: 1.5d}}]",
    ),
    "zero-age": (
        1,
        "rules[0].remove.older_than",
        "being pushed",
        "rules: [{tags: [a], remove: {older_than: 0d}}]",
    ),
    "zero-within": (
        1,
        "rules[0].keep.within",
        "keeps nothing",
        "rules: [{tags: [a], keep: {within: 0s}, remove: rest}]",
    ),
    "eternity": (
        1,
        "rules[0].remove.older_than",
        "thousand years",
        "rules: [{tags: [a], remove: {older_than: 9999y}}]",
    ),
    "size": (
        1,
        "rules[0].larger_than",
        "500MB",
        "rules: [{tags: [a], larger_than: big, remove: all}]",
    ),
    "sizes": (
        1,
        "rules[0].smaller_than",
        "nothing is larger",
        "rules: [{tags: [a], larger_than: 2GB, smaller_than: 1GiB, remove: all}]",
    ),
    "share-true": (1, "max_removal", "true or false", "max_removal: yes"),
    "flag": (
        1,
        "rules[0].whole_images",
        "true or false",
        "rules: [{tags: [a], whole_images: 1, keep: {last: 1}, remove: rest}]",
    ),
    "whole-what": (
        1,
        "rules[0].whole_images",
        "add keep",
        "rules: [{tags: [a], whole_images: true, remove: all}]",
    ),
    "share-large": (1, "max_removal", "30%", "max_removal: 130%"),
    "zone": (1, "time_zone", "Europe/Berlin", "time_zone: Europe/Bonn"),
    "zone-path": (1, "time_zone", "UTC", "time_zone: ../../../etc/passwd"),
    "zone-folder": (1, "time_zone", "UTC", "time_zone: Europe"),
    "zone-empty": (1, "time_zone", "UTC", "time_zone: ''"),
    "digest": (1, "protect.digests[0]", "sha256", "protect: {digests: ['sha256:abc']}"),
    # Keys.
    "misspelt": (1, "rulez", "rules is perhaps meant", "rulez: []"),
    "misspelt-below": (
        3,
        "rules[0].keep.lst",
        "known are last, within",
        "rules:\n- tags: [a]\n  keep: {lst: 3}",
    ),
    "wrong-level": (
        1,
        "rules[0].last",
        "below keep",
        "rules: [{tags: [a], last: 3, remove: rest}]",
    ),
    "age-beside-remove": (
        1,
        "rules[0].older_than",
        "below remove",
        "rules: [{tags: [a], older_than: 3d}]",
    ),
    "capitals": (1, "Rules", "rules", "Rules: []"),
    "latest-yes": (1, "latest", "no such key", "latest: yes"),
    "number-key": (1, "1", "no such key", "1: 2"),
    "list-key": (1, "a list", "no such key", "? [a, b]\n: 1"),
    "merge": (
        2,
        "rules[0].<<",
        "no such key",
        "rules:\n- <<: {tags: [a]}\n  remove: all",
    ),
    "twice": (2, "time_zone", "given twice", "time_zone: UTC\ntime_zone: Europe/Berlin"),
    "twice-quoted": (2, "time_zone", "given twice", "time_zone: UTC\n'time_zone': UTC"),
    "twice-below": (
        4,
        "rules[0].tags",
        "given twice",
        "rules:\n- tags: [a]\n  remove: all\n  tags: [b]",
    ),
    "no-value": (3, "rules[0].remove", "no value", "rules:\n- tags: [a]\n  remove:\n"),
    "no-value-rules": (1, "rules", "no value", "rules:"),
    "no-group": (
        1,
        "rules[0].group_by",
        "no value",
        "rules: [{tags: [a], group_by: , keep: {last: 1}, remove: rest}]",
    ),
    # Lists and mappings in each other's place.
    "one-tag": (1, "rules[0].tags", "write a list", "rules: [{tags: '*', remove: all}]"),
    "one-rule": (1, "rules", "write a list", "rules: {tags: [a], remove: all}"),
    "list-of-rules": (1, "rules[0]", "keys below", "rules: [[{tags: [a]}]]"),
    "protect-list": (1, "protect", "keys below it: tags", "protect: [v1]"),
    "tag-mapping": (
        1,
        "rules[0].tags[0]",
        "mapping",
        "rules: [{tags: [{latest: yes}], remove: all}]",
    ),
    "tag-list": (1, "rules[0].tags[0]", "a list", "rules: [{tags: [[a]], remove: all}]"),
    "keep-list": (
        1,
        "rules[0].keep",
        "keys below it: last",
        "rules: [{tags: [a], keep: [last], remove: rest}]",
    ),
    "remove-word": (1, "rules[0].remove", "all or rest", "rules: [{tags: [a], remove: old}]"),
    "remove-true": (1, "rules[0].remove", "all or rest", "rules: [{tags: [a], remove: yes}]"),
    "state": (
        1,
        "rules[0].state",
        "tagged, untagged, orphaned",
        "rules: [{tags: [a], state: none, remove: all}]",
    ),
    "clock": (
        1,
        "rules[0].clock",
        "auto, pushed, uploaded, tagged, created, untagged",
        "rules: [{tags: [a], clock: now, remove: all}]",
    ),
    "set-for-list": (
        1,
        "rules[0].tags",
        "write a list",
        "rules: [{tags: !!set {a, b}, remove: all}]",
    ),
    # Patterns.
    "empty-pattern": (1, "rules[0].tags[0]", "empty", "rules: [{tags: [''], remove: all}]"),
    "expression-as-glob": (
        1,
        "protect.tags[0]",
        "re:EXPRESSION",
        "protect: {tags: ['^v.*$']}",
    ),
    "alternatives": (1, "protect.tags[0]", "'('", "protect: {tags: ['(main|dev)']}"),
    "dot-star": (1, "protect.tags[0]", "begins with '.'", "protect: {tags: ['.*']}"),
    "plus": (1, "protect.tags[0]", "'+'", "protect: {tags: [v1+build]}"),
    "braces": (1, "protect.tags[0]", "'{'", "protect: {tags: ['{main,dev}']}"),
    "negated": (1, "protect.tags[0]", "'!'", "protect: {tags: ['!v*']}"),
    "spaces": (1, "protect.tags[0]", "' '", "protect: {tags: [main dev]}"),
    "open-bracket": (1, "protect.tags[0]", "without ]", "protect: {tags: ['v[0-9']}"),
    "caret": (1, "rules[0].tags[0]", "[!a-z]", "rules: [{tags: ['[^v]*'], remove: all}]"),
    "empty-set": (1, "protect.tags[0]", "set of nothing", "protect: {tags: ['v[]']}"),
    "empty-span": (1, "protect.tags[0]", "z-a", "protect: {tags: ['[z-a]*']}"),
    "brackets-apart": (1, "protect.tags[0]", "without [", "protect: {tags: ['a]b[']}"),
    "empty-expression": (1, "protect.tags[0]", "empty", "protect: {tags: ['re:']}"),
    "reference": (1, "protect.tags[0]", "'/'", "protect: {tags: ['team/app:v1']}"),
    "capital-repository": (1, "protect.repositories[0]", "'T'", "protect: {repositories: [Team]}"),
    "repository-with-tag": (
        1,
        "rules[0].repositories[0]",
        "':'",
        "rules: [{repositories: ['app:v1'], tags: [a], remove: all}]",
    ),
    "repository-version": (
        1,
        "rules[0].repositories[0]",
        "has no version",
        "rules: [{repositories: ['semver:1'], tags: [a], remove: all}]",
    ),
    "no-expression": (1, "protect.tags[0]", "no RE2", "protect: {tags: ['re:(']}"),
    "lookahead": (1, "protect.tags[0]", "no RE2", "protect: {tags: ['re:(?!v).*']}"),
    "no-range": (1, "protect.tags[0]", "range of versions", "protect: {tags: ['semver:new']}"),
    "long-pattern": (1, "protect.tags[0]", "1000", f"protect: {{tags: [{'a' * 1001}]}}"),
    "group-of-none": (
        1,
        "rules[0].group_by",
        "parentheses",
        "rules: [{tags: [a], group_by: 're:.+', keep: {last: 1}, remove: rest}]",
    ),
    "group-glob": (
        1,
        "rules[0].group_by",
        "captures nothing",
        "rules: [{tags: [a], group_by: '*-*', keep: {last: 1}, remove: rest}]",
    ),
    # What has no effect, or an effect that is not meant.
    "created-without-tag": (
        1,
        "rules[0].clock",
        "is not read",
        "rules: [{state: untagged, clock: created, remove: {older_than: 7d}}]",
    ),
    "no-types": (
        1,
        "rules[0].artifact_types",
        "names no type",
        "rules: [{tags: ['*'], artifact_types: [], remove: all}]",
    ),
    "no-tags": (
        3,
        "rules[1]",
        "names no tags",
        "rules:\n- {state: untagged, remove: all}\n- remove: all",
    ),
    "no-effect": (1, "rules[0]", "does nothing", "rules: [{tags: [a]}]"),
    "no-repositories": (
        1,
        "rules[0].repositories",
        "leave it out",
        "rules: [{tags: [a], repositories: [], remove: all}]",
    ),
    "empty-keep": (
        1,
        "rules[0].keep",
        "keeps nothing",
        "rules: [{tags: [a], keep: {}, remove: rest}]",
    ),
    "empty-remove": (1, "rules[0].remove", "removes nothing", "rules: [{tags: [a], remove: {}}]"),
    "rest-of-what": (1, "rules[0].remove", "of what", "rules: [{tags: [a], remove: rest}]"),
    "all-and-keep": (
        1,
        "rules[0].remove",
        "remove: rest",
        "rules: [{tags: [a], keep: {last: 3}, remove: all}]",
    ),
    "age-and-count": (
        1,
        "rules[0].remove",
        "and_beyond",
        "rules: [{tags: [a], remove: {older_than: 7d, beyond: 3}}]",
    ),
    "two-counts": (
        1,
        "rules[0].remove",
        "several counts",
        "rules: [{tags: [a], remove: {older_than: 7d, and_beyond: 3, or_beyond: 4}}]",
    ),
    "and-what": (
        1,
        "rules[0].remove",
        "go with older_than",
        "rules: [{tags: [a], remove: {and_beyond: 3}}]",
    ),
    "tags-of-untagged": (
        1,
        "rules[0].tags",
        "has no tags",
        "rules: [{state: untagged, tags: [a], remove: all}]",
    ),
    "kept-tags-of-untagged": (
        1,
        "rules[0].keep.tags",
        "has no tags",
        "rules: [{state: untagged, keep: {tags: [a]}, remove: rest}]",
    ),
    "clock-of-tagged": (
        1,
        "rules[0].clock",
        "state: untagged",
        "rules: [{tags: [a], clock: untagged, remove: all}]",
    ),
    "same-name": (
        3,
        "rules[1].name",
        "another rule",
        "rules:\n- {name: a, tags: [a], remove: all}\n- {name: a, tags: [b], remove: all}",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_name_file_line_key_and_what_is_allowed(name: str) -> None:
    line, key, words, text = MISTAKES[name]
    with pytest.raises(InvalidPolicy) as raised:
        parse_policy(text, "policies/p.yml")
    assert raised.value.message.startswith(f"policies/p.yml, line {line}: {key}: ")
    assert words in raised.value.message
    assert raised.value.hint


def test_all_mistakes_are_told_at_once_each_with_its_own_line() -> None:
    text = textwrap.dedent("""\
        rules:
        - tags: [1.1, ok, 2.2]
          remove: {older_than: 7}
        - tagz: [b]
        - tags: [c]
          keep: {last: none}
        protekt: {}
        """)
    with pytest.raises(InvalidPolicy) as raised:
        parse_policy(text, "p.yml")
    first, *rest = raised.value.message.splitlines()
    assert first == "p.yml: 6 mistakes:"
    assert [line.split(":")[:2] for line in rest] == [
        ["  line 2", " rules[0].tags[0]"],
        ["  line 2", " rules[0].tags[2]"],
        ["  line 3", " rules[0].remove.older_than"],
        ["  line 4", " rules[1].tagz"],
        ["  line 6", " rules[2].keep.last"],
        ["  line 7", " protekt"],
    ]


def test_only_the_first_of_many_mistakes_are_shown() -> None:
    text = "rules:\n" + "- {tags: [a], rmove: all}\n" * 500
    with pytest.raises(InvalidPolicy) as raised:
        parse_policy(text, "p.yml")
    assert raised.value.message.endswith("  and 480 more")


NO_YAML: dict[str, tuple[int, str | bytes]] = {
    "tab": (2, "rules:\n\t- tags: [a]"),
    "two-documents": (2, "rules: []\n---\nrules: []"),
    "unclosed": (1, "rules: ["),
    "nul": (2, "rules: []\n\0"),
    "nul-bytes": (1, b"\0\0\0\0"),
    "not-utf-8": (2, b"rules: []\nname: \xff\xfe"),
    "no-such-alias": (1, "rules: *nowhere"),
    "indented-wrong": (3, "rules:\n  - tags: [a]\n remove: all"),
    "percent": (1, "%YAML 9.0\n---\nrules: []"),
    "escape": (1, 'description: "\\z"'),
}


@pytest.mark.parametrize("name", NO_YAML)
def test_what_is_no_yaml_names_its_line(name: str) -> None:
    line, text = NO_YAML[name]
    with pytest.raises(InvalidPolicy, match=rf"^p\.yml is not YAML, line {line}\b"):
        parse_policy(text, "p.yml")


@pytest.mark.parametrize(
    "text", ["", "# only words\n", "---\n", "~", "[]", "rules", "7", b"\xef\xbb\xbf"]
)
def test_what_holds_no_keys_is_no_policy(text: str | bytes) -> None:
    with pytest.raises(InvalidPolicy, match="line 1: it holds no keys"):
        parse_policy(text, "p.yml")


@pytest.mark.parametrize("text", ["[" * 100_000, "a: " * 50_000, "- " * 100_000, "{a: " * 20_000])
def test_deep_nesting_is_refused(text: str) -> None:
    with pytest.raises(InvalidPolicy, match=r"nested too deep|not YAML"):
        parse_policy(text, "p.yml")


def test_a_bomb_of_aliases_is_refused_in_little_memory() -> None:
    many = ", ".join(["*a"] * 3000)
    text = f"a: &a [{', '.join(['x'] * 3000)}]\n"
    text += f"b: &b {{tags: &t [{', '.join(['x'] * 3000)}], remove: all}}\n"
    text += f"rules: [{many.replace('*a', '*b')}]"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InvalidPolicy, match="more than 100,000 values"):
        parse_policy(text, "p.yml")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_an_alias_of_itself_is_refused() -> None:
    with pytest.raises(InvalidPolicy, match=r"rules\[0\]: is a list"):
        parse_policy("rules: &a [*a]", "p.yml")


def test_files_of_any_size_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "p.yml"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InvalidPolicy, match="larger than"):
        read_policy(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="nowhere"):
        read_policy(tmp_path / "nowhere.yml")


@pytest.mark.parametrize("number", ["1", "0.3"])
def test_a_share_that_is_a_number_is_never_more_than_was_meant(number: str) -> None:
    assert parse_policy(f"max_removal: {number}", "p.yml").max_removal.value <= float(number) / 100


@pytest.mark.parametrize(
    "text", ["description: nothing", "rules: []", "rules: [{tags: [a], keep: {last: 3}}]"]
)
def test_a_policy_that_removes_nothing_is_refused_where_it_is_used(text: str) -> None:
    policy = parse_policy(text, "p.yml")
    with pytest.raises(Refused):
        require_useful(policy)


def test_schema_knows_every_key() -> None:
    schema = policy_schema()
    assert set(schema["$defs"]["Policy"]["properties"]) == set(Policy.__struct_fields__)
    assert schema["$defs"]["Rule"]["additionalProperties"] is False


# Whatever is in a file: a policy, or an error that says what is wrong.

KEYS = sorted(
    {*Policy.__struct_fields__, *Rule.__struct_fields__, *Keep.__struct_fields__}
    | {*Remove.__struct_fields__, *Protect.__struct_fields__, "rule", "<<"}
)
VALUES = st.sampled_from(
    [
        "*",
        "v*",
        "re:v.+",
        "semver:>=1",
        "re:(",
        "1.10",
        "30d",
        "1mo",
        "7",
        "rest",
        "all",
        "untagged",
    ]
) | st.text(max_size=5)
SCALARS = VALUES | st.integers(-2, 20) | st.booleans() | st.none() | st.floats()
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=25,
)
POLICIES = st.fixed_dictionaries(
    {},
    optional={
        "rules": st.lists(
            st.dictionaries(st.sampled_from(KEYS), DOCUMENTS, max_size=5), max_size=3
        ),
        "protect": DOCUMENTS,
        "time_zone": SCALARS,
        "max_removal": SCALARS,
    },
)


def outcome(text: str | bytes) -> Policy | InvalidPolicy:
    try:
        return parse_policy(text, "p.yml")
    except InvalidPolicy as error:
        return error


def told(found: Policy | InvalidPolicy) -> None:
    if isinstance(found, InvalidPolicy):
        assert "p.yml" in found.message
        assert found.hint


@given(st.text() | st.binary())
def test_any_bytes_are_a_policy_or_an_error(raw: str | bytes) -> None:
    told(outcome(raw))


@given(POLICIES)
def test_any_document_is_a_policy_or_an_error(document: object) -> None:
    told(outcome(dump_yaml(document)))


@given(st.data())
def test_any_change_of_a_policy_is_a_policy_or_an_error(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(GOOD)))
    length = data.draw(st.integers(0, 8))
    put = data.draw(st.sampled_from(["", ":", "- ", "\n", "&a ", "*a", "'", "[", "}", "!!x ", "~"]))
    told(outcome(GOOD[:at] + put + GOOD[at + length :]))


NAMES = st.sampled_from(["a", "on", "yes", "y", "n", "1.10", "1e3", "null", "2024-01-15"]) | (
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,9}", fullmatch=True)
)


@given(st.lists(NAMES, min_size=1, max_size=4, unique=True), st.text(max_size=20))
def test_a_written_policy_reads_as_the_same(tags: list[str], description: str) -> None:
    policy = parse_policy(GOOD, "p.yml")
    protect = Protect(tags=tuple(map(Pattern, tags)))
    policy = msgspec.structs.replace(policy, protect=protect, description=description)
    assert parse_policy(write_policy(policy), "p.yml") == policy
