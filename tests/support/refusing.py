"""A relay before an object store that answers some requests itself, as a store in trouble does.

    with RefusingStore(bucket.gateway) as store:
        store.refuse = lambda asked: (403, "AccessDenied") if asked.method == "DELETE" else None
        settings = bucket.settings | {"regionendpoint": store.endpoint}

No store here fails at will. Whatever `refuse` says nothing of goes through to the real one.
"""

import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

from tests.support.buckets import Bucket, Gateway

__all__ = ["Asked", "BehindRelay", "RefusingStore"]

_OF_ONE_HOP = frozenset({"transfer-encoding", "connection", "keep-alive"})


class Asked(NamedTuple):
    """A request: the method, the key with the bucket before it, the names in its query.

    `before` is how many were asked since the relay began, `agent` who asks.
    """

    method: str
    path: str
    query: frozenset[str]
    before: int
    agent: str

    @property
    def deletes(self) -> bool:
        """Whether it removes objects, one or many."""
        return self.method == "DELETE" or (self.method == "POST" and "delete" in self.query)

    @property
    def writes(self) -> bool:
        """Whether it writes, or begins to."""
        return self.method in {"PUT", "POST"} and "delete" not in self.query

    @property
    def lists(self) -> bool:
        """Whether it lists."""
        return self.method == "GET" and "list-type" in self.query


Refuse = Callable[[Asked], tuple[int, str] | None]


class RefusingStore:
    """The relay. What `refuse` returns is the answer's status and code; a status of 0: none."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.refuse: Refuse = lambda _: None
        self.refused: list[Asked] = []
        self._count = 0
        self._lock = threading.Lock()
        relay = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):
                    return self._answer
                raise AttributeError(name)

            def _answer(self) -> None:
                relay.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        body = request.rfile.read(int(request.headers.get("Content-Length", "0")))
        at = urlsplit(request.path)
        names = frozenset(parse_qs(at.query, keep_blank_values=True))
        agent = request.headers.get("User-Agent", "")
        with self._lock:
            asked = Asked(request.command, at.path.lstrip("/"), names, self._count, agent)
            self._count += 1
        said = self.refuse(asked)
        if said is None:
            self._relay(request, body)
            return
        self.refused.append(asked)
        status, code = said
        if not status:
            request.close_connection = True
            return
        text = f"<Error><Code>{code}</Code><Message>Told secrets.</Message></Error>".encode()
        request.send_response(status)
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(text)

    def _relay(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        store = http.client.HTTPConnection(urlsplit(self._gateway.endpoint).netloc, timeout=60)
        try:
            store.putrequest(request.command, request.path, True, True)
            for name, value in request.headers.items():
                store.putheader(name, value)
            store.endheaders(body)
            answer = store.getresponse()
            content = answer.read()
        except OSError:
            request.close_connection = True
            return
        finally:
            store.close()
        request.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {*_OF_ONE_HOP, "content-length"}:
                request.send_header(name, value)
        length = answer.getheader("Content-Length")
        told = length if request.command == "HEAD" and length else str(len(content))
        request.send_header("Content-Length", told)
        request.end_headers()
        request.wfile.write(content)


class BehindRelay(Bucket):
    """A bucket that is reached through a relay."""

    def __init__(self, bucket: Bucket, store: RefusingStore) -> None:
        super().__init__(bucket.gateway, bucket.name)
        object.__setattr__(self, "_endpoint", store.endpoint)

    @property
    def settings(self) -> dict[str, Any]:
        found: dict[str, Any] = super().settings | {
            "regionendpoint": getattr(self, "_endpoint", "")
        }
        return found
