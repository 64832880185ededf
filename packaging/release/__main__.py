"""Makes what is released, into dist/: `make dist`, or `python -m release wheels pyz`."""

import argparse
import contextlib
import hashlib
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final, NoReturn

from release import image
from release.bundle import PLATFORMS, build_bundle
from release.deb import build_deb
from release.programs import ReleaseError
from release.python import TARGETS, build_sdist, build_wheel
from release.pyz import build_pyz
from release.tree import ROOT, Source, copy_source

KINDS: Final = ("wheels", "pyz", "deb", "image")
SUMS: Final = "SHA256SUMS"


class Stopped(BaseException):
    """Somebody stops it; after KeyboardInterrupt, subprocess would not wait for what it kills."""


def make(
    source: Source, folder: Path, kinds: AbstractSet[str], architectures: Sequence[str]
) -> Iterator[Path]:
    """Make files of some kinds in a folder, and yield each when it is whole."""
    if "wheels" in kinds:
        yield build_sdist(source, folder)
        for platform in ("any", *TARGETS):
            yield build_wheel(source, folder, platform)
    if kinds <= {"wheels"}:
        return
    for architecture in architectures:
        say(f"fetching the dependencies for {architecture}")
        with tempfile.TemporaryDirectory(dir=folder) as work:
            platform = f"manylinux_2_17_{PLATFORMS[architecture]}"
            wheel = build_wheel(source, Path(work), platform)
            bundle = Path(work, "bundle")
            build_bundle(source, wheel, bundle, architecture)
            if "pyz" in kinds:
                name = f"jettison-{source.version}-{PLATFORMS[architecture]}.pyz"
                yield build_pyz(source, bundle, folder / name, architecture)
            if "deb" in kinds:
                package = build_deb(source, bundle, Path(work), architecture)
                yield package.replace(folder / package.name)
            if "image" in kinds:
                yield from image.build_image(source, bundle, folder, architecture)


def release(
    folder: Path, kinds: AbstractSet[str], architectures: Sequence[str], site: str
) -> list[Path]:
    """Make all of it apart, and put it into a folder when all of it is whole."""
    with (
        tempfile.TemporaryDirectory() as work,
        tempfile.TemporaryDirectory(prefix=".unfinished-", dir=folder) as draft,
    ):
        source = copy_source(Path(work, "source"), site)
        made = []
        for path in make(source, Path(draft), kinds, architectures):
            say(f"{path.name}, {megabytes(path)}")
            made.append(path)
        placed = [path.replace(folder / path.name) for path in made]
        listed = Path(draft, SUMS)
        listed.write_text(sums(folder), "utf-8")
        listed.replace(folder / SUMS)
    return placed


def sums(folder: Path) -> str:
    """Return the lines of SHA256SUMS."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != SUMS)
    return "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files
    )


def lacking(kind: str) -> str:
    """Return what this machine lacks for files of a kind, or nothing."""
    if kind == "deb":
        return "" if shutil.which("dpkg-deb") else "dpkg-deb"
    return image.missing() if kind == "image" else ""


def megabytes(*paths: Path) -> str:
    """Return the size of files, for a person."""
    return f"{sum(path.stat().st_size for path in paths) / 1e6:.1f} MB"


def say(text: str) -> None:
    """Tell a person how far it is."""
    print(f"release: {text}", file=sys.stderr)


def stop(number: int, _frame: object) -> NoReturn:
    """Stop at a signal."""
    raise Stopped(number)


def main() -> None:
    """Read the arguments, and make."""
    parser = argparse.ArgumentParser(prog="release", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; all")
    parser.add_argument("--folder", type=Path, default=ROOT / "dist", help="where to; dist")
    parser.add_argument("--architecture", choices=PLATFORMS, action="append", help="both")
    parser.add_argument("--site", default="", help="where the pages of this version are")
    asked = parser.parse_args()
    unknown = set(asked.kinds) - set(KINDS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    left_out = {}
    for kind in asked.kinds or KINDS:
        if lack := lacking(kind):
            say(f"no {kind}: it needs what is not here: {lack}")
            left_out[kind] = lack
    if left_out and asked.kinds:
        sys.exit(1)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    folder: Path = asked.folder
    folder.mkdir(parents=True, exist_ok=True)
    kinds = set(asked.kinds or KINDS) - set(left_out)
    try:
        made = release(folder, kinds, asked.architecture or tuple(PLATFORMS), asked.site)
    except (Stopped, ReleaseError, OSError) as error:
        with contextlib.suppress(OSError):
            folder.rmdir()  # if it was made for this
        stopped = isinstance(error, Stopped)
        say("stopped" if stopped else str(error))
        say(f"nothing in {folder} has changed")
        sys.exit(128 + error.args[0] if stopped else 1)
    without = "".join(f", no {kind}" for kind in left_out)
    say(f"{len(made)} files in {folder}, {megabytes(*made)}{without}; their hashes: {SUMS}")


if __name__ == "__main__":
    main()
