"""The program in one file, for hosts with Python and without pip."""

import hashlib
import time
import zipfile
from pathlib import Path
from typing import Final

from release.bundle import PLATFORMS
from release.tree import Source

_SHEBANG: Final = b"#!/usr/bin/env python3\n"


def build_pyz(source: Source, bundle: Path, target: Path, architecture: str) -> Path:
    """Write the archive of a bundle, which starts itself."""
    scripts = source.folder / "packaging"
    files = {path.relative_to(bundle).as_posix(): path for path in bundle.rglob("*")}
    contents = {name: path.read_bytes() for name, path in files.items() if path.is_file()}
    digest = hashlib.sha256()
    for name, content in sorted(contents.items()):
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    start = (scripts / "zipapp_main.py").read_text("utf-8")
    start = start.replace("@CONTENT@", digest.hexdigest()[:16])
    contents["__main__.py"] = start.replace("@MACHINE@", PLATFORMS[architecture]).encode()
    moment = time.gmtime(source.epoch)[:6]
    with target.open("wb") as file:
        file.write(_SHEBANG)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in sorted(contents.items()):
                entry = zipfile.ZipInfo(name, moment)
                entry.external_attr = 0o100644 << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, content)
    target.chmod(0o755)
    return target
