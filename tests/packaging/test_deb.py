"""The Debian package, installed into a root of Debian's own packages."""

import gzip
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from release.deb import build_deb
from release.tree import ROOT, copy_source
from tests.support.packages import made, run_in
from tests.support.trees import Tree

UNITS = ROOT / "packaging" / "debian"
OWNER = 1234
SCRIPT = """\
install() { dpkg -i /tmp/jettison.deb >/dev/null; }
install
jettison --version
zcat /usr/share/man/man1/jettison-gc.1.gz | grep -q 'SH NAME'
HOME=/tmp setpriv --reuid %(owner)d --clear-groups \\
    jettison gc /srv/tree --untagged --now --yes --assume-quiescent
jettison fsck /srv/tree
find /srv/tree ! -uid %(owner)d
cp -a /srv/tree /var/lib/jettison
jettison check /etc/jettison/config.yml
echo '# changed' >> /etc/jettison/config.yml
install
grep -q '# changed' /etc/jettison/config.yml
dpkg -r jettison >/dev/null
test ! -e /usr/lib/jettison
test -e /etc/jettison/config.yml
install
dpkg -P jettison >/dev/null
test -d /var/lib/jettison/docker
echo the data is there
find / -xdev -path /proc -prune -o -path /srv -prune -o -path '/var/lib/jettison/*' -prune -o \\
    -path /tmp -prune -o -name '*jettison*' -print
"""


@pytest.mark.parametrize("unit", ["jettison", "jettison-gc", "jettison-prune"])
def test_a_unit_may_do_little(unit: str) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20"]
    done = subprocess.run(
        [*command, str(UNITS / f"{unit}.service")], check=False, capture_output=True, text=True
    )
    if "--offline" in done.stderr:
        pytest.skip("this systemd-analyze does not judge files")
    assert done.returncode == 0, done.stdout.splitlines()[-1]


def test_its_changelog_is_one_of_debian(tmp_path: Path) -> None:
    if not shutil.which("dpkg-deb"):
        pytest.skip("dpkg-deb is not installed")
    source = copy_source(tmp_path / "source")
    (tmp_path / "bundle").mkdir()
    build_deb(source, tmp_path / "bundle", tmp_path, "amd64")
    packed = tmp_path / "root/usr/share/doc/jettison/changelog.Debian.gz"
    first, *_, last = gzip.decompress(packed.read_bytes()).decode().splitlines()
    assert first == f"jettison ({source.version}-1) unstable; urgency=medium"
    assert re.fullmatch(r" -- .+ <.+>  \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000", last)


@pytest.mark.soak
def test_it_is_installed_upgraded_and_purged_and_the_data_stays(shared: Path, debian: Path) -> None:
    (package,) = made(shared, "deb", "--architecture", "amd64").glob("*.deb")
    shutil.copy(package, debian / "tmp" / "jettison.deb")
    tree = Tree(debian / "srv" / "tree")
    tree.image("app", None, [b"a layer that is removed"])
    tree.image("app", "new", [b"a layer that stays"])
    before = len(tree.blobs())
    for path in (tree.root, *tree.root.rglob("*")):
        os.chown(path, OWNER, OWNER)
    done = run_in(debian, SCRIPT % {"owner": OWNER})
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-2:] == ["the data is there", "/var/lib/jettison"]
    assert "/srv/tree/" not in done.stdout, "a file of root in a storage of somebody else's"
    assert len(tree.blobs()) == before - 3
