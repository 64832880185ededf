"""A stub of Microsoft's identity service: it gives a token to whoever asks, and notes how.

Azurite takes it (`TokenAzurite`): it looks at what a token says, and not who has signed it.
"""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

import jwt

_NOBODY: Final = "00000000-0000-0000-0000-000000000000"


def make_token() -> str:
    now = int(time.time())
    told = {
        "aud": "https://storage.azure.com",
        "iss": f"https://sts.windows.net/{_NOBODY}/",
        "oid": _NOBODY,
        "tid": _NOBODY,
        "sub": "test",
        "ver": "1.0",
    }
    return jwt.encode(told | {"iat": now, "nbf": now - 60, "exp": now + 3600}, "s" * 32)


class Tokens:
    """One process with the test; `asked` are the requests that came, with their bodies."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def _give(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                asked.append(f"{self.command} {self.path} {body}")
                expiry = f'"expires_in": 3600, "expires_on": "{int(time.time()) + 3600}"'
                text = f'{{"access_token": "{make_token()}", "token_type": "Bearer", {expiry}}}'
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = _give  # noqa: N815 - its names

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
