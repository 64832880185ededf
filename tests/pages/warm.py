"""Jettison, started once: `python warm.py SOCKET` forks a process for each call of its client.

Most of what a small command takes is the start of Python and the imports, and pages have hundreds
of commands. A process that was forked has them already; else it is what the command line starts.
"""

import io
import json
import os
import signal
import socket
import sys
import time

__all__ = ["serve"]

_now = time.time
_ahead = [0.0]
time.time = lambda: _now() + _ahead[0]  # before anything is imported that may keep it

from jettison.cli.main import main  # noqa: E402
from tests.support.preloaded import load  # noqa: E402


def serve(path: str) -> None:
    """Answer until standard input ends."""
    load()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        print("ready", flush=True)  # noqa: T201 - whoever started it waits for this
        while True:
            asked, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _answer(asked)
            asked.close()


def _answer(asked: socket.socket) -> None:
    """Run one command in this process, and end it."""
    head, descriptors, *_ = socket.recv_fds(asked, 8, 3)
    body = b""
    while len(body) < int.from_bytes(head, "big"):
        body += asked.recv(1 << 20)
    arguments, folder, environment, ahead = json.loads(body)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    # As Python opens them at its start, unbuffered, so that both arrive in their order.
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False), "utf-8")
    for name, number in (("stdout", 1), ("stderr", 2)):
        raw = io.FileIO(number, "w", closefd=False)
        setattr(sys, name, io.TextIOWrapper(raw, "utf-8", write_through=True))
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    _ahead[0] = ahead
    sys.argv = ["jettison", *arguments]
    code: object = 1
    try:
        main()
        code = 0
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # noqa: BLE001 - this process ends as Python would end it
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    number = code if isinstance(code, int) else int(bool(code))
    asked.sendall(str(number).encode())
    os._exit(number)


if __name__ == "__main__":
    serve(sys.argv[1])
