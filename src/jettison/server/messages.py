"""Messages of the server itself, on standard error, in the form that ``log`` asks for."""

import logging
import sys
import time
from typing import Final

from jettison.configuration.settings import Log
from jettison.model.printable import ascii_json

__all__ = ["log_messages"]

_LEVELS: Final = {
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}


def log_messages(log: Log) -> None:
    """Send what ``jettison`` logs to standard error, from ``log.level`` on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Text(log) if log.formatter == "text" else _Json(log))
    logger = logging.getLogger("jettison")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(_LEVELS[log.level])
    # What uvicorn says is said by the access log, or is a client's broken request.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)


class _Text(logging.Formatter):
    """``time="…" level=info msg="…"``, as Distribution writes it."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._fields = "".join(f" {key}={_quoted(value)}" for key, value in log.fields.items())

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        level = _level(record)
        return f'time="{_time(record)}" level={level} msg={_quoted(text)}{self._fields}'


class _Json(logging.Formatter):
    """One JSON object a line; ``logstash`` has other names for the time and the message."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._fields = log.fields
        self._stash = log.formatter == "logstash"

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        content = {**self._fields, "level": _level(record)}
        if self._stash:
            content |= {"@timestamp": _time(record), "@version": "1", "message": text}
        else:
            content |= {"time": _time(record), "msg": text}
        return ascii_json(content)


def _level(record: logging.LogRecord) -> str:
    return record.levelname.lower()


def _time(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))


def _quoted(text: str) -> str:
    return ascii_json(text)
