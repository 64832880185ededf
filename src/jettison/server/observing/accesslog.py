"""The access log: one line for each request, on standard output as Distribution has it.

:meth:`AccessLog.write` is on the path of every request. It joins the parts of a line without
looking at them, and escapes each part only if the whole line is not plain. So a client can neither
begin a line of its own nor end a quoted field. Only harmless parameters of a query keep their
values: ``_state`` and tokens are never logged.
"""

import asyncio
import json
import re
import time
from typing import Final
from urllib.parse import unquote

import msgspec

from jettison.configuration.settings import Log
from jettison.model import strict_json
from jettison.server.observing.exchange import Exchange
from jettison.server.observing.output import Output

__all__ = ["AccessLog", "safe_target"]

_BUFFER_BYTES: Final = 64 * 1024
_FLUSH_SECONDS: Final = 0.1
_STOP_SECONDS: Final = 2.0
_PLAIN_LENGTH: Final = 2000
"""The parts of a longer line are shortened, so that a pipe takes it in one piece."""
_TARGET_LENGTH: Final = 1600
_PART_LENGTH: Final = 400
_QUOTES: Final = 5
"""The number of quotes in a line up to the agent's."""
_AGENTS: Final = 256
_SERVER_ERROR: Final = 500
_LAST_BYTE: Final = 0xFF

_HARMLESS: Final = frozenset(
    {
        *("account", "artifacttype", "client_id", "digest", "digest-algorithm", "from", "last"),
        *("mount", "n", "ns", "scope", "service", "tag"),
    }
)
_PARAMETER: Final = re.compile(r"(?P<start>[?&;])(?P<name>[^=&;]*)=(?P<value>[^&;]*)")
_LOGIN: Final = re.compile(r"(?<=//)[^/?#]*@")
_UNSAFE: Final = re.compile(r"[^ !#-\[\]-~]")
_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}


class AccessLog:
    """Writes a line for each exchange to the file descriptor ``stream``.

    Lines are held back for at most 0.1 s. :meth:`write` never raises and never waits: lines that
    the stream does not take are dropped, and counted in :attr:`dropped`.
    """

    def __init__(self, log: Log, stream: int = 1) -> None:
        formats: dict[str, type[_Text | _Json]] = {"text": _Text, "json": _Json}
        formatter = formats.get(log.formatter, _Logstash)(log.fields)
        self._format = formatter.line
        self._disabled = log.access_disabled
        self._output = Output(stream, formatter.notice)
        self._lines: list[str] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def dropped(self) -> int:
        """How many lines were lost."""
        return self._output.dropped

    def write(self, exchange: Exchange) -> None:
        """Add the line of an exchange that is over."""
        if self._disabled:
            return
        line = self._format(exchange)
        self._lines.append(line)
        self._size += len(line)
        if self._size >= _BUFFER_BYTES:
            self.flush()
        elif self._timer is None:
            self._flush_later()

    def flush(self) -> None:
        """Hand over the lines held back, without waiting for the stream."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lines:
            lines, size = self._lines, self._size
            self._lines, self._size = [], 0
            self._output.put(lines, size)

    def close(self, timeout: float = _STOP_SECONDS) -> bool:
        """Flush, and wait up to ``timeout`` seconds for the stream; return whether it took all."""
        self.flush()
        return self._output.drain(timeout)

    def _flush_later(self) -> None:
        try:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)
        except RuntimeError:  # no loop runs
            self.flush()


class _Text:
    """A line as Apache's combined format has it, then the request's id and its seconds.

    ``fields`` follow as ``name=value``.
    """

    def __init__(self, fields: dict[str, str]) -> None:
        self._end = "".join(f" {_field(n)}={_field(v)}" for n, v in fields.items()) + "\n"
        self._second = -1
        self._stamp = ""
        self._agents: dict[str, str] = {}

    def line(self, exchange: Exchange) -> str:
        second = int(exchange.started)
        if second != self._second:
            self._second = second
            self._stamp = _apache_time(second)
        agent = self._agents.get(exchange.agent)
        if agent is None:
            agent = self._new_agent(exchange.agent)
        target = exchange.target
        if "?" in target or "//" in target:
            target = safe_target(target)
        referer = exchange.referer
        if referer:
            referer = safe_target(referer)
        request_id = exchange.request_id
        line = (
            f"{exchange.client or '-'} - {exchange.user or '-'} [{self._stamp}] "
            f'"{exchange.method} {target} HTTP/{exchange.version}" '
            f'{exchange.status} {exchange.sent} "{referer}" "'
        )
        if (
            len(line) > _PLAIN_LENGTH
            or not line.isascii()
            or not line.isprintable()
            or line.count('"') != _QUOTES
            or "\\" in line
            or " " in exchange.user
        ):
            line = self._escaped(exchange, target, referer)
        if (
            not request_id
            or not request_id.isascii()
            or not request_id.isprintable()
            or " " in request_id
        ):
            request_id = _word(request_id)
        return f'{line}{agent}" {request_id} {exchange.seconds:.6f}{self._end}'

    def _escaped(self, exchange: Exchange, target: str, referer: str) -> str:
        request = f"{exchange.method} {target} HTTP/{exchange.version}"
        return (
            f"{_word(exchange.client)} - {_word(exchange.user)} [{self._stamp}] "
            f'"{_part(request, _TARGET_LENGTH)}" {exchange.status} {exchange.sent} '
            f'"{_part(referer)}" "'
        )

    def _new_agent(self, agent: str) -> str:
        """Escape an agent once for all lines: Docker's has backslashes, and is frequent."""
        if len(self._agents) >= _AGENTS:
            self._agents.clear()
        escaped = _part(agent)
        if len(agent) <= _PART_LENGTH:
            self._agents[agent] = escaped
        return escaped

    def notice(self, count: int) -> str:
        stamp = _apache_time(int(time.time()))
        return f'- - - [{stamp}] "" 0 0 "" "{count} lines of this log were dropped" - 0{self._end}'


class _Line(msgspec.Struct, gc=False, omit_defaults=True):
    """The names in Distribution's own JSON lines."""

    host: str = msgspec.field(name="http.request.host", default="")
    request_id: str = msgspec.field(name="http.request.id", default="")
    method: str = msgspec.field(name="http.request.method", default="")
    referer: str = msgspec.field(name="http.request.referer", default="")
    client: str = msgspec.field(name="http.request.remoteaddr", default="")
    target: str = msgspec.field(name="http.request.uri", default="")
    agent: str = msgspec.field(name="http.request.useragent", default="")
    version: str = msgspec.field(name="http.request.version", default="")
    received: int = msgspec.field(name="http.request.received", default=-1)
    duration: str = msgspec.field(name="http.response.duration", default="")
    seconds: float = msgspec.field(name="http.response.seconds", default=-1.0)
    status: int = msgspec.field(name="http.response.status", default=-1)
    sent: int = msgspec.field(name="http.response.written", default=-1)
    user: str = msgspec.field(name="auth.user.name", default="")
    repository: str = msgspec.field(name="vars.name", default="")


class _Json:
    """One object a line; empty values are left out."""

    time_name = "time"
    message_name = "msg"
    start = ""

    def __init__(self, fields: dict[str, str]) -> None:
        ours = {*_Line.__struct_encode_fields__, "level", self.time_name, self.message_name}
        added = {name: value for name, value in fields.items() if name not in ours}
        self._fields = json.dumps(added)[1:-1]
        self._encode = msgspec.json.Encoder().encode
        self._second = -1
        self._stamp = ""
        self._good, self._bad = (self._end(level) for level in ("info", "error"))

    def line(self, exchange: Exchange) -> str:
        finished = exchange.started + exchange.seconds
        second = int(finished)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        target = exchange.target
        if "?" in target or "//" in target:
            target = safe_target(target)
        referer = exchange.referer
        if referer:
            referer = safe_target(referer)
        try:
            raw = self._encoded(exchange, target, referer)
        except UnicodeEncodeError:
            raw = b""
        if (
            not raw  # what is no Unicode cannot be encoded
            or len(raw) > _PLAIN_LENGTH
            or not raw.isascii()
            or b"\x7f" in raw
        ):
            exchange = _shortened(exchange, target, referer)
            raw = self._encoded(exchange, exchange.target, exchange.referer)
            raw = json.dumps(strict_json.decode(raw, object)).replace("\x7f", "\\u007f").encode()
        text = raw.decode("ascii")
        end = self._good if exchange.status < _SERVER_ERROR else self._bad
        fraction = int((finished - second) * 1000)
        return f'{text[:-1]},{self.start}"{self.time_name}":"{self._stamp}.{fraction:03d}Z"{end}'

    def _encoded(self, exchange: Exchange, target: str, referer: str) -> bytes:
        seconds = exchange.seconds
        return self._encode(
            _Line(
                exchange.host,
                exchange.request_id,
                exchange.method,
                referer,
                exchange.client,
                target,
                exchange.agent,
                exchange.version,
                exchange.received,
                f"{seconds * 1000:.6g}ms",
                seconds,
                exchange.status,
                exchange.sent,
                exchange.user,
                exchange.repository,
            )
        )

    def notice(self, count: int) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        end = self._end("warning", f"{count} lines of this log were dropped")
        return f'{{{self.start}"{self.time_name}":"{stamp}"{end}'

    def _end(self, level: str, message: str = "response completed") -> str:
        fields = f",{self._fields}" if self._fields else ""
        return f',"level":"{level}","{self.message_name}":"{message}"{fields}}}\n'


class _Logstash(_Json):
    time_name = "@timestamp"
    message_name = "message"
    start = '"@version":"1",'


def safe_target(target: str) -> str:
    """Return a path or URL without its login and without values of other parameters."""
    if "@" in target:
        target = _LOGIN.sub("", target)
    if "?" in target:
        target = _PARAMETER.sub(_parameter, target)
    return target


def _shortened(exchange: Exchange, target: str, referer: str) -> Exchange:
    """Return a copy with all texts shortened and valid Unicode."""
    exchange = msgspec.structs.replace(exchange, target=target, referer=referer)
    texts = {
        name: value.encode("utf-8", "backslashreplace").decode()
        for name, value in msgspec.structs.asdict(exchange).items()
        if isinstance(value, str)
    }
    for name, value in texts.items():
        texts[name] = value[: _TARGET_LENGTH if name == "target" else _PART_LENGTH]
    return msgspec.structs.replace(exchange, **texts)


def _parameter(found: re.Match[str]) -> str:
    if unquote(found["name"]).lower() in _HARMLESS:
        return found[0]
    return f"{found['start']}{found['name']}=..."


def _part(text: str, most: int = _PART_LENGTH) -> str:
    """Escape a part between quotes, and shorten it to ``most`` characters."""
    escaped = _UNSAFE.sub(_escape, text[:most])
    if len(text) <= most and len(escaped) <= most:
        return escaped
    return escaped[: most - 3].rstrip("\\") + "..."


def _word(text: str) -> str:
    """Escape a part without quotes, which is one word."""
    return _part(text).replace(" ", "\\x20") or "-"


def _escape(found: re.Match[str]) -> str:
    known = _ESCAPES.get(found[0])
    if known is not None:
        return known
    code = ord(found[0])
    return f"\\x{code:02x}" if code <= _LAST_BYTE else f"\\u{code:04x}"


def _field(text: str) -> str:
    """Return a field's name or value as the operator configured it, in quotes if it needs them."""
    return text if re.fullmatch(r"[\w./@^+:-]+", text, re.ASCII) else f'"{_part(text)}"'


def _apache_time(second: int) -> str:
    return time.strftime("%d/%b/%Y:%H:%M:%S %z", time.localtime(second))
