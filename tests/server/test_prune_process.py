"""The process that prunes for a server: on the storage that the server has, and on no other."""

import subprocess
import sys
from pathlib import Path


def test_a_configuration_that_names_another_bucket_by_now_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    config.write_text(
        "version: 0.1\nstorage: {s3: {bucket: images, region: eu-north-1, regionendpoint: "
        "'http://127.0.0.1:1', accesskey: a, secretkey: b}}\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "jettison.server.prune_process", config, "s3://others", "1.0"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == f"{config} names s3://images, and the server serves s3://others\n"
