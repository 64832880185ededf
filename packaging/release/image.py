"""The container image: Debian's Python without a shell, and the bundle."""

import hashlib
import os
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from release.programs import run
from release.sbom import components
from release.tree import ROOT, Source

PACKAGES: Final = (
    *("ca-certificates", "libbz2-1.0", "libc6", "libcrypt1", "libexpat1", "libffi8", "libgcc-s1"),
    *("liblzma5", "libpython3.11-minimal", "libpython3.11-stdlib", "libsqlite3-0", "libssl3"),
    *("libstdc++6", "libuuid1", "media-types", "python3.11-minimal", "zlib1g"),
)
"""Of Debian 12: Python and what its modules load. There is no shell among them."""

USER: Final = 65532

_NOT_RUN: Final = ("applications", "binfmts", "bug", "gcc", "lintian", "locale", "man", "pixmaps")


def build_image(source: Source, bundle: Path, folder: Path, architecture: str) -> tuple[Path, Path]:
    """Build the image of a processor, as an archive of OCI's layout, and the list of its parts."""
    stem = f"jettison-{source.version}-{architecture}"
    listed = folder / f"{stem}.cdx.json"
    target = folder / f"{stem}.oci.tar"
    with tempfile.TemporaryDirectory(dir=folder) as place:  # removes folders of no write mode too
        work = Path(place)
        root = work / "root"
        root.mkdir()
        debian = _unpack_packages(work, root, architecture)
        _add_program(bundle, root)
        listed.write_text(components(source, debian), "utf-8")
        _copy(listed, root / "usr/share/sbom/jettison.cdx.json")
        _pack(root, work / "root.tar", source.epoch)
        shutil.copyfile(source.folder / "packaging/image/Containerfile", work / "Containerfile")
        _build(source, work, target, architecture)
    return target, listed


def missing() -> str:
    """Return what an image needs and this machine lacks, or nothing."""
    programs = [name for name in ("apt-get", "buildah", "dpkg-deb") if not shutil.which(name)]
    if programs:
        return ", ".join(programs)
    release = Path("/etc/os-release")
    text = release.read_text("utf-8") if release.exists() else ""
    return "" if "VERSION_CODENAME=bookworm" in text else "Debian 12"


def without_logins() -> dict[str, str]:
    """Return the environment without the files of logins, which buildah wants to be there."""
    return {k: v for k, v in os.environ.items() if k not in {"DOCKER_CONFIG", "REGISTRY_AUTH_FILE"}}


def _unpack_packages(work: Path, root: Path, architecture: str) -> dict[str, tuple[str, str]]:
    """Unpack Debian's packages, running nothing of them; return version and SHA-256 of each."""
    archives = work / "archives"
    for place in ("lists/partial", "cache/archives/partial"):
        (work / place).mkdir(parents=True)
    archives.mkdir()
    options = [
        *("-qq", "-o", f"Dir::State::Lists={work}/lists", "-o", f"Dir::Cache={work}/cache"),
        *("-o", f"APT::Architecture={architecture}", "-o", f"APT::Architectures={architecture}"),
        *("-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none"),
    ]
    run(["apt-get", *options, "update"])
    run(["apt-get", *options, "download", *PACKAGES], archives)
    found = {}
    for archive in sorted(archives.glob("*.deb")):
        run(["dpkg-deb", "-x", str(archive), str(root)])
        version = run(["dpkg-deb", "-f", str(archive), "Version"]).strip()
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        found[archive.name.partition("_")[0]] = (version, digest)
    for name in _NOT_RUN:
        shutil.rmtree(root / "usr/share" / name, ignore_errors=True)
    for path in (root / "usr/share/doc").rglob("*"):
        if path.is_file() and path.name != "copyright":
            path.unlink()
    return found


def _add_program(bundle: Path, root: Path) -> None:
    library = root / "usr/lib/jettison"
    for name in ("any", "cp311"):
        shutil.copytree(bundle / name, library / name)
    _copy(bundle / "launch.py", library / "launch.py")
    (library / "launch.py").chmod(0o755)
    (root / "usr/bin/python3").symlink_to("python3.11")
    (root / "usr/bin/jettison").symlink_to("../lib/jettison/launch.py")
    certificates = sorted((root / "usr/share/ca-certificates/mozilla").glob("*.crt"))
    joined = "".join(one.read_text("ascii") for one in certificates)
    (root / "etc/ssl/certs").mkdir(parents=True, exist_ok=True)
    (root / "etc/ssl/certs/ca-certificates.crt").write_text(joined, "ascii")
    (root / "etc/passwd").write_text(
        f"root:x:0:0:root:/tmp:/\nnonroot:x:{USER}:{USER}:nonroot:/tmp:/\n", "ascii"
    )
    (root / "etc/group").write_text(f"root:x:0:\nnonroot:x:{USER}:\n", "ascii")
    (root / "tmp").mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)


def _pack(root: Path, target: Path, epoch: int) -> None:
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as archive:
        for path in sorted(root.rglob("*")):
            entry = archive.gettarinfo(path, path.relative_to(root).as_posix())
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = epoch
            if entry.isfile():
                with path.open("rb") as content:
                    archive.addfile(entry, content)
            else:
                archive.addfile(entry)


def _build(source: Source, work: Path, target: Path, architecture: str) -> None:
    revision = run(["git", "rev-parse", "HEAD"], ROOT).strip()
    labels = {
        "title": "jettison",
        "description": source.description,
        "version": source.version,
        "revision": revision,
        "licenses": "Apache-2.0",
    }
    store = ["--root", str(work / "store"), "--runroot", str(work / "run")]
    buildah = ["buildah", "--storage-driver", "vfs", *store]
    command = [
        *(*buildah, "build", "--quiet", "--isolation", "chroot", "--format", "oci"),
        *("--arch", architecture, "--timestamp", str(source.epoch), "--identity-label=false"),
        *(f"--label=org.opencontainers.image.{name}={value}" for name, value in labels.items()),
        *("--tag", f"jettison:{source.version}", str(work)),
    ]
    run(command, env=without_logins())
    layout = work / "layout"
    place = f"oci:{layout}:jettison:{source.version}"
    run([*buildah, "push", "--quiet", f"jettison:{source.version}", place], env=without_logins())
    for path in layout.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    _pack(layout, target, source.epoch)  # buildah's own archive has the time in it


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
