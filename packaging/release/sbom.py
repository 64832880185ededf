"""The list of what is inside, in CycloneDX's format."""

import json
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any

from release.bundle import requirements
from release.tree import Source


def components(source: Source, debian: Mapping[str, tuple[str, str]]) -> str:
    """Return the list: Python's packages with their hashes, and Debian's.

    ``debian`` has the version and the SHA-256 of each package of Debian.
    """
    listed = [
        _component(name, version, f"pkg:pypi/{name}@{version}", re.findall(r"sha256:(\w+)", block))
        for name, block in requirements()
        for version in re.findall(r"==([^\s;]+)", block)[:1]
    ]
    listed += [
        _component(name, version, f"pkg:deb/debian/{name}@{version}", [digest])
        for name, (version, digest) in sorted(debian.items())
    ]
    main = f"pkg:pypi/jettison@{source.version}"
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(listed))}",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(source.epoch)),
            "component": {
                "type": "application",
                "bom-ref": main,
                "name": "jettison",
                "version": source.version,
                "purl": main,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            },
        },
        "components": listed,
    }
    return json.dumps(document, indent=1) + "\n"


def _component(name: str, version: str, purl: str, digests: list[str]) -> dict[str, Any]:
    hashes = [{"alg": "SHA-256", "content": digest} for digest in sorted(digests)]
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "hashes": hashes,
    }
