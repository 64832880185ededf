"""Makes what is released, into dist/: `make dist`, or `python -m release wheels pyz`."""

import argparse
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from release.bundle import PLATFORMS, build_bundle
from release.deb import build_deb
from release.image import build_image, missing
from release.python import TARGETS, build_sdist, build_wheel
from release.pyz import build_pyz
from release.tree import ROOT, Source, copy_source

KINDS = ("wheels", "pyz", "deb", "image")


def make(
    source: Source, folder: Path, kinds: AbstractSet[str], architectures: Sequence[str]
) -> None:
    """Make files of some kinds in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if "wheels" in kinds:
        build_sdist(source, folder)
        build_wheel(source, folder)
        for platform in TARGETS:
            build_wheel(source, folder, platform)
    if kinds <= {"wheels"}:
        return
    for architecture in architectures:
        with tempfile.TemporaryDirectory() as work:
            platform = f"manylinux_2_17_{PLATFORMS[architecture]}"
            wheel = build_wheel(source, Path(work), platform)
            bundle = Path(work, "bundle")
            build_bundle(source, wheel, bundle, architecture)
            if "pyz" in kinds:
                name = f"jettison-{source.version}-{PLATFORMS[architecture]}.pyz"
                build_pyz(source, bundle, folder / name, architecture)
            if "deb" in kinds:
                package = build_deb(source, bundle, Path(work), architecture)
                shutil.move(package, folder / package.name)
            if "image" in kinds:
                build_image(source, bundle, folder, architecture)


def sums(folder: Path) -> str:
    """Return the lines of SHA256SUMS."""
    files = sorted(path for path in folder.iterdir() if path.name != "SHA256SUMS")
    return "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files
    )


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
    kinds = set(asked.kinds or KINDS)
    if "image" in kinds and missing():
        print(f"release: no image: it needs what is not here: {missing()}", file=sys.stderr)
        kinds.remove("image")
    with tempfile.TemporaryDirectory() as work:
        source = copy_source(Path(work, "source"), asked.site)
        make(source, asked.folder, kinds, asked.architecture or tuple(PLATFORMS))
    lines = sums(asked.folder)
    (asked.folder / "SHA256SUMS").write_text(lines, "utf-8")
    sys.stdout.write(lines)


if __name__ == "__main__":
    main()
