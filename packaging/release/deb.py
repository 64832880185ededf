"""The Debian package: the bundle in /usr/lib/jettison, pages of the manual, completions, units."""

import gzip
import hashlib
import os
import shutil
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from textwrap import dedent
from typing import Final

from release.bundle import PYTHONS
from release.command_tree import commands
from release.completions import SHELLS
from release.manual import manual_page, page_name
from release.programs import run
from release.tree import Source

_MAINTAINER: Final = "Jettison <jettison@packages.invalid>"
_CONFFILES: Final = ("etc/jettison/config.yml",)
_SCRIPTS: Final = ("postinst", "prerm", "postrm")


def build_deb(source: Source, bundle: Path, folder: Path, architecture: str) -> Path:
    """Build the package of a processor; ``folder`` gets it, beside what it is made of."""
    root = folder / "root"
    shutil.copytree(bundle, root / "usr/lib/jettison")
    _link(root / "usr/bin/jettison", "../lib/jettison/launch.py")
    _write_pages(source, root)
    _copy_files(source, root)
    _write_control(source, root, architecture)
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        os.utime(path, (source.epoch, source.epoch), follow_symlinks=False)
    target = folder / f"jettison_{source.version}-1_{architecture}.deb"
    command = ["dpkg-deb", "--root-owner-group", "-Zzstd", "--build", str(root), str(target)]
    run(command, env=source.environment)
    return target


def _write_pages(source: Source, root: Path) -> None:
    every = list(commands())
    for command in every:
        text = manual_page(command, every, source.version, source.epoch)
        _gzip(root / f"usr/share/man/man1/{page_name(command)}.1.gz", text.encode())
    for place, render in SHELLS.values():
        _write(root / place, render(every))


def _copy_files(source: Source, root: Path) -> None:
    files = source.folder / "packaging" / "debian"
    for unit in sorted([*files.glob("*.service"), *files.glob("*.timer")]):
        _write(root / "usr/lib/systemd/system" / unit.name, unit.read_text("utf-8"))
    _write(root / "etc/jettison/config.yml", (files / "config.yml").read_text("utf-8"))
    documents = root / "usr/share/doc/jettison"
    example = (files / "retention.yml").read_text("utf-8")
    _write(documents / "examples/retention.yml", example)
    licence = "Jettison is under the Apache License 2.0: /usr/share/common-licenses/Apache-2.0\n\n"
    inside = "What it has inside, in /usr/lib/jettison, has its licences there: *.dist-info/.\n"
    _write(documents / "copyright", licence + inside)
    _gzip(documents / "changelog.gz", (source.folder / "CHANGELOG.md").read_bytes())
    moment = format_datetime(datetime.fromtimestamp(source.epoch, UTC))
    entry = f"jettison ({source.version}-1) unstable; urgency=medium\n\n  * See changelog.gz.\n\n"
    _gzip(documents / "changelog.Debian.gz", f"{entry} -- {_MAINTAINER}  {moment}\n".encode())


def _write_control(source: Source, root: Path, architecture: str) -> None:
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    first, last = PYTHONS[0], PYTHONS[-1]
    after = f"3.{int(last[2:]) + 1}~"
    text = f"""\
        Package: jettison
        Version: {source.version}-1
        Architecture: {architecture}
        Maintainer: {_MAINTAINER}
        Installed-Size: {size // 1024}
        Depends: python3 (>= {first}), python3 (<< {after}), libc6 (>= 2.28), libstdc++6
        Recommends: ca-certificates
        Section: admin
        Priority: optional
        Description: {source.description.rstrip(".")[0].lower()}{source.description.rstrip(".")[1:]}
         Jettison works against any registry over its API, on the storage of one, and is a
         registry itself, in place of CNCF Distribution. What it depends on is inside.
        """
    _write(root / "DEBIAN/control", dedent(text))
    _write(root / "DEBIAN/conffiles", "".join(f"/{name}\n" for name in _CONFFILES))
    sums = [
        f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  {name}\n"
        for path in sorted(root.rglob("*"))
        if path.is_file()
        and not path.is_symlink()
        and not (name := path.relative_to(root).as_posix()).startswith(("DEBIAN", *_CONFFILES))
    ]
    _write(root / "DEBIAN/md5sums", "".join(sums))
    for script in _SCRIPTS:
        target = root / "DEBIAN" / script
        shutil.copyfile(source.folder / "packaging" / "debian" / script, target)
        target.chmod(0o755)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def _gzip(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, 9, mtime=0))


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
