import os
from pathlib import Path

import pytest

from jettison.configuration import read_configuration
from jettison.configuration.enabling import enable_deletion
from jettison.errors import ConfigurationError

HEAD = "version: 0.1\n"
FILES = "  filesystem:\n    rootdirectory: /data\n"

CASES = {
    "a value": (
        f"{HEAD}storage:\n  delete:\n    enabled: false  # why not\n{FILES}",
        f"{HEAD}storage:\n  delete:\n    enabled: true  # why not\n{FILES}",
    ),
    "quoted, and quoted things elsewhere": (
        f"{HEAD}log: {{level: \"info\"}}\nstorage:\n{FILES}  delete:\n    enabled: 'false'\n",
        f'{HEAD}log: {{level: "info"}}\nstorage:\n{FILES}  delete:\n    enabled: true\n',
    ),
    "flow": (
        f"{HEAD}storage:\n  delete: {{enabled: false}}   # off\n{FILES}# end\n",
        f"{HEAD}storage:\n  delete: {{enabled: true}}   # off\n{FILES}# end\n",
    ),
    "no delete block": (
        f"# top\n{HEAD}storage: # where\n  # the disk\n{FILES}http:\n  addr: :5000\n# end\n",
        (
            f"# top\n{HEAD}storage: # where\n  delete:\n    enabled: true\n  # the disk\n{FILES}"
            "http:\n  addr: :5000\n# end\n"
        ),
    ),
    "an indent of four and no newline at the end": (
        f"{HEAD}storage:\n    filesystem:\n        rootdirectory: /data",
        (
            f"{HEAD}storage:\n    delete:\n        enabled: true\n    filesystem:\n"
            "        rootdirectory: /data"
        ),
    ),
    "a delete block with nothing in it": (
        f"{HEAD}storage:\n{FILES}  delete: # nothing yet\n",
        f"{HEAD}storage:\n{FILES}  delete: # nothing yet\n    enabled: true\n",
    ),
    "a delete block with nothing in it at the very end": (
        f"{HEAD}storage:\n{FILES}  delete:",
        f"{HEAD}storage:\n{FILES}  delete:\n    enabled: true",
    ),
    "an empty mapping": (
        f"{HEAD}storage:\n{FILES}  delete: {{}}\n",
        f"{HEAD}storage:\n{FILES}  delete: {{enabled: true}}\n",
    ),
    "another key in it": (
        f"{HEAD}storage:\n  delete:\n    other: 1\n{FILES}",
        f"{HEAD}storage:\n  delete:\n    enabled: true\n    other: 1\n{FILES}",
    ),
    "enabled without a value": (
        f"{HEAD}storage:\n  delete:\n    enabled:\n{FILES}",
        f"{HEAD}storage:\n  delete:\n    enabled: true\n{FILES}",
    ),
    "all in one line": (
        f"{HEAD}storage: {{filesystem: {{rootdirectory: /data}}}}\n",
        f"{HEAD}storage: {{delete: {{enabled: true}}, filesystem: {{rootdirectory: /data}}}}\n",
    ),
    "only the driver's name": (
        f"{HEAD}storage: filesystem\n",
        f"{HEAD}storage: {{filesystem: {{}}, delete: {{enabled: true}}}}\n",
    ),
    "JSON": (
        '{"version": 0.1, "storage": {"filesystem": {}, "delete": {"enabled": false}}}\n',
        '{"version": 0.1, "storage": {"filesystem": {}, "delete": {"enabled": true}}}\n',
    ),
    "lines that end as on Windows": (
        "version: 0.1\r\nstorage:\r\n  filesystem:\r\n    rootdirectory: /data\r\n",
        (
            "version: 0.1\r\nstorage:\r\n  delete:\r\n    enabled: true\r\n  filesystem:\r\n"
            "    rootdirectory: /data\r\n"
        ),
    ),
}


@pytest.mark.parametrize(("before", "after"), CASES.values(), ids=CASES.keys())
def test_only_the_one_key_changes(tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "config.yml"
    path.write_bytes(before.encode())
    assert enable_deletion(path).changed
    assert path.read_bytes().decode() == after
    assert read_configuration(path, {}).storage.delete_enabled
    assert list(tmp_path.glob("*config*")) == [path]

    assert not enable_deletion(path).changed
    assert path.read_bytes().decode() == after


def test_debians_own_file_is_left_but_for_the_key(tmp_path: Path) -> None:
    debian = (
        "version: 0.1\nlog:\n  fields:\n    service: registry\nstorage:\n  cache:\n"
        "    blobdescriptor: inmemory\n  filesystem:\n"
        "    rootdirectory: /var/lib/docker-registry\n  delete:\n    enabled: false\nhttp:\n"
        "  addr: :5000\n  headers:\n    X-Content-Type-Options: [nosniff]\nauth:\n  htpasswd:\n"
        "    realm: basic-realm\n    path: /etc/docker/registry\nhealth:\n  storagedriver:\n"
        "    enabled: true\n    interval: 10s\n    threshold: 3\n"
    )
    path = tmp_path / "config.yml"
    path.write_text(debian, encoding="utf-8")
    enable_deletion(path)
    assert path.read_text(encoding="utf-8") == debian.replace("enabled: false", "enabled: true")


def test_mode_and_a_symbolic_link_stay(tmp_path: Path) -> None:
    real = tmp_path / "real" / "config.yml"
    real.parent.mkdir()
    real.write_text(f"{HEAD}storage:\n{FILES}", encoding="utf-8")
    real.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(real, 12345, 12345)
    path = tmp_path / "config.yml"
    path.symlink_to(real)
    enable_deletion(path)
    assert path.is_symlink()
    assert real.stat().st_mode & 0o7777 == 0o640
    assert os.geteuid() != 0 or real.stat().st_uid == 12345


def test_what_cannot_be_set_safely_is_left(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    text = f"{HEAD}x: &off\n  enabled: false\nstorage:\n  delete: *off\n{FILES}"
    path.write_text(text, encoding="utf-8")
    # The anchor is shared: changing it would change x too.
    with pytest.raises(ConfigurationError, match=r"storage\.delete\.enabled cannot be set"):
        enable_deletion(path)
    assert path.read_text(encoding="utf-8") == text
