"""The program in one file."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.test_python import try_it
from tests.support.cli import Jettison
from tests.support.packages import PYTHONS, interpreter, run_in

OWNER = 1234
LAUNCH = Path(__file__).parents[2] / "packaging" / "launch.py"


def test_a_python_that_it_has_no_parts_for_is_named(tmp_path: Path) -> None:
    for name in ("any", "cp35", "cp36"):
        (tmp_path / name).mkdir()
    (tmp_path / "launch.py").write_bytes(LAUNCH.read_bytes())
    command = [sys.executable, "-I", str(tmp_path / "launch.py"), "--version"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert done.stderr == f"error: this jettison runs on Python 3.5, 3.6, and this is {version}\n"
    assert done.returncode == 1


@pytest.mark.soak
@pytest.mark.parametrize("version", PYTHONS)
def test_it_runs_on(pyz: Path, version: str, tmp_path: Path) -> None:
    command = (interpreter(version), "-I", str(pyz))
    jettison = Jettison(tmp_path, command)
    try_it(jettison, tmp_path / "tree")
    jettison("demo", timeout=600)


@pytest.mark.soak
def test_it_runs_on_a_debian_without_pip(pyz: Path, debian: Path) -> None:
    shutil.copy(pyz, debian / "srv" / "jettison.pyz")
    run = "/srv/jettison.pyz demo >/dev/null && stat -c %u $HOME/.cache/jettison/pyz"
    done = run_in(
        debian,
        f"! python3 -m pip 2>/dev/null || exit 9; install -d /srv/root;"
        f" install -d -o {OWNER} /srv/user;"
        f" HOME=/srv/root sh -ec '{run}';"
        f" HOME=/srv/user setpriv --reuid {OWNER} --clear-groups sh -ec '{run}'",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"0\n{OWNER}\n"


@pytest.mark.soak
def test_it_runs_nothing_from_a_folder_that_others_may_write_to(
    pyz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    monkeypatch.setenv("JETTISON_PYZ_CACHE", str(cache))
    done = Jettison(tmp_path, (sys.executable, str(pyz)))("--version", check=1)
    assert "not this user's alone" in done.stderr
    assert list(cache.iterdir()) == []


@pytest.mark.soak
def test_two_that_start_together_unpack_it_once(
    pyz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("JETTISON_PYZ_CACHE", str(cache))
    command = [sys.executable, str(pyz), "--version"]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    for one in started:
        assert one.communicate()[0].startswith(b"jettison ")
        assert one.returncode == 0
    assert len(list(cache.iterdir())) == 1
