"""The documents of `-o json`: each command has one, and what is printed is held against it."""

import json
from typing import Any

import pytest
from typer.main import get_command

from docs import render_json
from jettison.cli import output
from jettison.cli.commands import app
from jettison.cli.documents import DOCUMENTS
from jettison.errors import NotARegistry, NotFoundError, UsageError
from jettison.storage.objects.meanings import StoreDenied, StoreLost
from tests.support.documents import check_error, check_printed, format_of, kinds_of

ITEM = {"level": "ok", "subject": "api", "message": "it answers", "next": None}
CHECKED = {"schema_version": 1, "target": "localhost:5000", "items": [ITEM]}


def with_json(command: Any, name: str = "") -> list[str]:
    found = []
    if any("--output" in option.opts for option in command.params):
        found.append(name)
    for inner, below in getattr(command, "commands", {}).items():
        found += with_json(below, f"{name} {inner}".strip())
    return found


def test_every_command_that_prints_json_has_a_document() -> None:
    described = {name for kind in DOCUMENTS for name in kind.commands}
    assert described == set(with_json(get_command(app)))


def test_the_page_and_the_schema_are_what_the_types_say() -> None:
    assert render_json.stale() == [], "run: make docs"


def test_every_error_has_a_code_of_words() -> None:
    assert output.code_of(NotARegistry) == "not_a_registry"
    assert output.code_of(NotFoundError) == "not_found"
    assert output.code_of(UsageError) == "usage"


@pytest.mark.parametrize("option", [("-o", "json"), ("--output", "json"), ("--output=json",)])
def test_the_format_is_found(option: tuple[str, ...]) -> None:
    assert format_of(("check", "localhost:5000", *option)) == "json"
    assert format_of(("check", "localhost:5000")) is None


def test_an_alias_prints_what_its_command_does() -> None:
    assert list(kinds_of(("delete", "localhost:5000/app:1"))) == list(kinds_of(("rm",)))


def printed(**changes: Any) -> str:
    return json.dumps({**CHECKED, **changes})


def test_what_the_document_is_passes() -> None:
    check_printed(("check", "localhost:5000", "-o", "json"), printed(), "")
    line = json.dumps({"schema_version": 1, "target": "x", **ITEM})
    check_printed(("check", "localhost:5000", "-o", "ndjson"), line, "")


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"items": None}, "None is not of type 'array'"),
        ({"more": 1}, "'more' was unexpected"),
        ({"schema_version": 2}, "1 was expected"),
        ({"items": [{**ITEM, "level": "bad"}]}, "'bad' is not one of"),
    ],
)
def test_what_the_document_is_not_is_found(changes: dict[str, Any], wrong: str) -> None:
    with pytest.raises(AssertionError, match=wrong):
        check_printed(("check", "localhost:5000", "-o", "json"), printed(**changes), "")


def test_a_time_that_is_a_number_is_found() -> None:
    run = {"schema_version": 1, "runs": [{"id": "x", "window_until": 1.5}]}
    with pytest.raises(AssertionError, match="window_until"):
        check_printed(("runs", "-o", "json"), json.dumps(run), "")


def test_an_error_of_a_part_of_the_program_has_a_code_of_the_table() -> None:
    assert output.code_of(StoreLost) == "storage_unavailable"
    assert output.code_of(StoreDenied) == "storage"


def test_names_that_others_gave_are_no_times() -> None:
    sizes = {"now": 2, "until": 2, "job_ns": 0, "main": 2}
    assert output.document({"groups": [{"sizes": sizes}]})["groups"] == [{"sizes": sizes}]


def test_what_no_command_prints_is_found() -> None:
    with pytest.raises(AssertionError, match="no document is known"):
        check_printed(("version", "-o", "json"), "{}", "")


def test_an_error_that_is_none_is_found() -> None:
    error = {"code": "not_found", "message": "it is not there", "hint": None, "exit_code": 1}
    check_error(json.dumps({"schema_version": 1, "error": error}))
    with pytest.raises(AssertionError, match="ErrorDocument"):
        check_error(json.dumps({"schema_version": 1, "error": {"code": "not_found"}}))
