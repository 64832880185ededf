"""Answers and errors as they are sent."""

import json

import pytest

from jettison.model.digest import Digest
from jettison.server.http.answers import (
    Answer,
    ApiError,
    Code,
    ErrorEntry,
    json_answer,
    problems_answer,
    shown,
    text_answer,
)


def test_an_error_has_the_specifications_form() -> None:
    detail = {"digest": Digest.of(b"")}
    answer = ApiError(404, Code.BLOB_UNKNOWN, "no such blob", detail, [(b"x", b"y")]).answer()
    assert answer.status == 404
    assert (b"content-type", b"application/json") in answer.headers
    assert (b"x", b"y") in answer.headers
    assert json.loads(answer.body) == {
        "errors": [{"code": "BLOB_UNKNOWN", "message": "no such blob", "detail": detail}]
    }


def test_an_error_without_detail_has_none() -> None:
    answer = ApiError(404, Code.NAME_UNKNOWN, "x").answer()
    assert json.loads(answer.body)["errors"] == [{"code": "NAME_UNKNOWN", "message": "x"}]


def test_several_problems_are_one_error() -> None:
    answer = problems_answer(400, [ErrorEntry("A", "a"), ErrorEntry("B", "b")], [])
    assert [one["code"] for one in json.loads(answer.body)["errors"]] == ["A", "B"]


def test_a_body_has_its_length_and_a_stream_the_one_it_is_given() -> None:
    assert json_answer({}).length == 2
    assert text_answer(404, "no").body == b"no\n"
    assert Answer(200, [], length=7).length == 7


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a/b", "a/b"),
        ("a\r\nb", "a\\r\\nb"),
        ("\x1b[0m", "\\x1b[0m"),
        ("é", "é"),
        ("a\0", "a\\x00"),
    ],
)
def test_what_a_client_sent_is_shown_without_control_characters(text: str, clean: str) -> None:
    assert shown(text) == clean


def test_what_a_client_sent_is_not_shown_at_length() -> None:
    assert len(shown("a" * 100_000)) == 201
