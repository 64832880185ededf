#!/usr/bin/python3 -I
"""Starts Jettison with the dependencies that lie beside this file.

``any/`` is for every Python, ``cp311/`` and so on for one version. The processes that Jettison
starts find them too, by ``PYTHONPATH``.
"""

import os
import sys
from pathlib import Path


def part(parts: set[str]) -> str:
    """Return the name of the part for this version of Python, or end with what there is."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    name = f"cp{version.replace('.', '')}"
    if name not in parts:
        have = sorted(f"3.{known[3:]}" for known in parts if known.startswith("cp3"))
        sys.exit(f"error: this jettison runs on Python {', '.join(have)}, and this is {version}")
    return name


def launch(root: Path) -> None:
    """Run the command line with what is in a folder."""
    bound = part({entry.name for entry in root.iterdir()})
    parts = [str(root / "any"), str(root / bound)]
    sys.path[:0] = parts
    os.environ["PYTHONPATH"] = os.pathsep.join(parts)
    from jettison.cli.main import main  # noqa: PLC0415 - it is found from here on

    main()


if __name__ == "__main__":
    launch(Path(__file__).resolve().parent)
