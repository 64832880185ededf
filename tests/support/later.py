"""Run the command line some seconds from now: ``python later.py SECONDS ARGUMENT...``.

No test can set the time at which a file came to its place, so that of the program is set instead.
"""

import sys
import time

from jettison.cli.main import main

_now = time.time


def _later() -> float:
    return _now() + seconds


if __name__ == "__main__":
    seconds = float(sys.argv.pop(1))
    time.time = _later
    main()
