"""The server's own log: one line a message, and nothing that a terminal obeys."""

import json
import logging
from typing import Literal

import pytest

from jettison.configuration.settings import Log
from jettison.server.messages import log_messages

HOSTILE = "\x1b]0;title\x07\r\nforged \u202e\u2028\x9b \x7f\udcff \xe9"


@pytest.fixture(autouse=True)
def logger() -> logging.Logger:
    return logging.getLogger("jettison")


@pytest.mark.parametrize("formatter", ["text", "json", "logstash"])
def test_a_message_stays_a_line(
    formatter: Literal["text", "json", "logstash"], capsys: pytest.CaptureFixture[str]
) -> None:
    log_messages(Log(formatter=formatter, fields={"where": HOSTILE}))
    logging.getLogger("jettison.server").warning("%s", HOSTILE)
    line = capsys.readouterr().err
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    assert line.isascii()
    if formatter != "text":
        found = json.loads(line)
        assert HOSTILE in found.values()
        assert found["where"] == HOSTILE
