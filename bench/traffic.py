"""Many small requests over many connections: `wrk` for GET, a loop of our own for HEAD.

wrk waits for the body that an answer to HEAD announces and never has.
"""

import re
import select
import socket
import statistics
import subprocess
import time
from collections.abc import Mapping
from typing import Final, NamedTuple

from bench.programs import BenchError

__all__ = ["CONNECTIONS", "Load", "Request", "get_load", "head_load", "parse_wrk"]

CONNECTIONS: Final = 32
UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
END: Final = b"\r\n\r\n"
OK: Final = b"HTTP/1.1 200"


class Request(NamedTuple):
    """What is asked for again and again: where, and with which headers."""

    address: str
    """Host and port."""
    target: str
    headers: Mapping[str, str]


class Load(NamedTuple):
    """Answers per second, and the time in seconds that 99 of 100 answers took at most."""

    rate: float
    p99: float


def get_load(request: Request, seconds: int) -> Load:
    """GET with wrk: one thread, 32 connections.

    Raises:
        BenchError: An answer was not a success, or none came.
    """
    headers = [part for item in request.headers.items() for part in ("-H", ": ".join(item))]
    url = f"http://{request.address}{request.target}"
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", *headers, url]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise BenchError("wrk not found; run `make setup` first") from None
    if done.returncode:
        raise BenchError(f"exit {done.returncode}: wrk {url}\n{done.stdout}{done.stderr}")
    return parse_wrk(done.stdout)


def parse_wrk(output: str) -> Load:
    """Read what wrk printed.

    Raises:
        BenchError: It counted errors.
    """
    for sign in ("Non-2xx", "Socket errors"):
        if sign in output:
            raise BenchError(f"wrk: {output[output.index(sign) :].splitlines()[0]}")
    rate = re.search(r"^Requests/sec:\s+([\d.]+)", output, re.MULTILINE)
    p99 = re.search(r"^\s+99%\s+([\d.]+)(us|ms|s|m)\s*$", output, re.MULTILINE)
    if rate is None or p99 is None or not float(rate[1]):
        raise BenchError(f"wrk told nothing:\n{output}")
    return Load(float(rate[1]), float(p99[1]) * UNITS[p99[2]])


def head_load(request: Request, seconds: float) -> Load:
    """HEAD from one thread over 32 connections; every answer's status is looked at.

    Raises:
        BenchError: An answer was not 200, or a connection was closed.
    """
    host, _, port = request.address.partition(":")
    fields = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    sent = f"HEAD {request.target} HTTP/1.1\r\nHost: {request.address}\r\n{fields}\r\n".encode()
    poll = select.epoll()
    sockets = [socket.create_connection((host, int(port)), timeout=30) for _ in range(CONNECTIONS)]
    try:
        by_number = {one.fileno(): one for one in sockets}
        for number, one in by_number.items():
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            poll.register(number, select.EPOLLIN)
        return _ask(poll, by_number, sent, seconds)
    finally:
        poll.close()
        for one in sockets:
            one.close()


def _ask(
    poll: select.epoll, sockets: Mapping[int, socket.socket], sent: bytes, seconds: float
) -> Load:
    clock = time.perf_counter
    began = clock()
    asked = dict.fromkeys(sockets, began)
    rest = dict.fromkeys(sockets, b"")
    took: list[float] = []
    for one in sockets.values():
        one.sendall(sent)
    now = began
    while now - began < seconds:
        ready = poll.poll(30)
        if not ready:
            raise BenchError("no answer to HEAD for 30 s")
        for number, _ in ready:
            one = sockets[number]
            received = one.recv(65536)
            answer = rest[number] + received
            if not received or not answer.startswith(OK[: len(answer)]):
                raise BenchError(f"HEAD answered {answer[:200]!r}")
            if not answer.endswith(END):
                rest[number] = answer
                continue
            if rest[number]:
                rest[number] = b""
            now = clock()
            took.append(now - asked[number])
            asked[number] = now
            one.send(sent)
    rate = len(took) / (now - began)
    return Load(rate, statistics.quantiles(took, n=100, method="inclusive")[98])
