"""What scripted registries tell by their APIs beside the distribution API, and to whom.

The forms are those of tests/client/times/imitated.py, with the sources named there.
"""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from tests.registries.scripted import Repository

__all__ = ["APIS", "NEVER", "PASSWORD", "PUSHED", "UPDATED"]

PUSHED: Final = 1_750_000_000
UPDATED: Final = "2025-06-15T15:06:40Z"
"""Both are when everything was pushed, as those say who say it."""
NEVER: Final = "0001-01-01T00:00:00.000Z"
PASSWORD: Final = "/api/"
"""Below here, a token of the registry's is no login."""

Repositories = Mapping[str, "Repository"]
Api = Callable[[str, Mapping[str, list[str]], Repositories], Any]


def _harbor(path: str, query: Mapping[str, list[str]], there: Repositories) -> Any:
    found = re.fullmatch(r"/api/v2.0/projects/([^/]+)/repositories/([^/]+)/artifacts", path)
    name = f"{found[1]}/{unquote(unquote(found[2]))}" if found else ""
    if name not in there:
        return None
    here = there[name]
    artifacts = [
        {
            "digest": digest,
            "push_time": UPDATED,
            "pull_time": NEVER,
            "tags": [{"name": tag, "push_time": UPDATED} for tag in here.tags_of(digest)] or None,
        }
        for digest in here.manifests
    ]
    return [] if query.get("page") != ["1"] else artifacts


def _quay(path: str, _: Mapping[str, list[str]], there: Repositories) -> Any:
    found = re.fullmatch(r"/api/v1/repository/(.+)/tag/", path)
    if not found or found[1] not in there:
        return None
    tags = [{"name": tag, "start_ts": PUSHED} for tag in there[found[1]].tags]
    return {"tags": tags, "page": 1, "has_additional": False}


def _gitlab(path: str, _: Mapping[str, list[str]], there: Repositories) -> Any:
    found = re.fullmatch(r"/gitlab/v1/repositories/(.+)/tags/list/", path)
    if not found or found[1] not in there:
        return None
    return [{"name": tag, "published_at": UPDATED} for tag in there[found[1]].tags]


def _gitea(path: str, query: Mapping[str, list[str]], there: Repositories) -> Any:
    if not path.startswith("/api/v1/packages/"):
        return None
    owner = path.rpartition("/")[2]
    versions = [
        {"name": name.removeprefix(f"{owner}/"), "version": tag, "created_at": UPDATED}
        for name, here in there.items()
        for tag in here.tags
        if name.startswith(f"{owner}/") and query["q"][0] in name
    ]
    return [] if query.get("page") != ["1"] else versions


def _zot(path: str, query: Mapping[str, list[str]], there: Repositories) -> Any:
    if path != "/v2/_zot/ext/search":
        return None
    name = query["query"][0].split('"')[1]
    here = there.get(name)
    results = [
        {"Digest": digest, "PushTimestamp": UPDATED, "LastPullTimestamp": NEVER}
        for digest in (set(here.tags.values()) if here else ())
    ]
    return {"data": {"ImageList": {"Results": results}}}


APIS: Final[Mapping[str, Api]] = {
    "Harbor": _harbor,
    "Quay": _quay,
    "GitLab with database": _gitlab,
    "Gitea": _gitea,
    "zot": _zot,
}
