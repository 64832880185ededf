"""Paths and the endpoints that they name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison.server.api.routes import Endpoint, Route, clean_path, find_route


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", Route(Endpoint.ROOT)),
        ("", Route(Endpoint.OTHER)),
        ("/v2", Route(Endpoint.BASE)),
        ("/v2/", Route(Endpoint.BASE)),
        ("/v2//", Route(Endpoint.OTHER)),
        ("/v1/", Route(Endpoint.OTHER)),
        ("/v2x/", Route(Endpoint.OTHER)),
        ("/v2/_catalog", Route(Endpoint.CATALOG)),
        ("/v2/_catalog/", Route(Endpoint.OTHER)),
        ("/v2/a/tags/list", Route(Endpoint.TAGS, "a")),
        ("/v2/a/tags/other", Route(Endpoint.OTHER)),
        ("/v2/a/tags/list/", Route(Endpoint.OTHER)),
        ("/v2//tags/list", Route(Endpoint.OTHER)),
        ("/v2/tags/list", Route(Endpoint.OTHER)),
        ("/v2/a/b/c/manifests/1", Route(Endpoint.MANIFEST, "a/b/c", "1")),
        ("/v2/a/manifests/", Route(Endpoint.OTHER)),
        ("/v2/a/manifests", Route(Endpoint.OTHER)),
        ("/v2/a/blobs/sha256:0", Route(Endpoint.BLOB, "a", "sha256:0")),
        ("/v2/a/referrers/sha256:0", Route(Endpoint.REFERRERS, "a", "sha256:0")),
        ("/v2/a/blobs/uploads", Route(Endpoint.UPLOADS, "a")),
        ("/v2/a/blobs/uploads/", Route(Endpoint.UPLOADS, "a")),
        ("/v2/a/blobs/uploads/x", Route(Endpoint.UPLOAD, "a", "x")),
        ("/v2/a/uploads/x", Route(Endpoint.OTHER)),
        # Names that hold the words of endpoints.
        ("/v2/manifests/manifests/manifests", Route(Endpoint.MANIFEST, "manifests", "manifests")),
        ("/v2/a/tags/list/tags/list", Route(Endpoint.TAGS, "a/tags/list")),
        ("/v2/a/blobs/uploads/manifests/1", Route(Endpoint.MANIFEST, "a/blobs/uploads", "1")),
        ("/v2/blobs/uploads/blobs/uploads/", Route(Endpoint.UPLOADS, "blobs/uploads")),
        ("/v2/a/../b/manifests/1", Route(Endpoint.MANIFEST, "a/../b", "1")),
    ],
)
def test_a_path_names_an_endpoint(path: str, route: Route) -> None:
    assert find_route(path) == route


@pytest.mark.parametrize("path", ["/v2/blobs/uploads/", "/v2/blobs/uploads", "/v2//blobs/uploads/"])
def test_without_a_name_there_is_no_repository(path: str) -> None:
    assert find_route(path).repository in {"", "blobs"}


@given(st.text(alphabet="abv2/_-.", max_size=600).map(lambda text: f"/{text}"))
def test_any_path_has_a_route_and_its_parts_come_from_it(path: str) -> None:
    route = find_route(path)
    assert route.repository in path
    assert route.reference in path
    assert route == find_route(path)


@given(
    st.from_regex(
        r"[a-z]{1,9}(/(manifests|blobs|tags|list|uploads|referrers|[a-z]{1,4})){0,6}",
        fullmatch=True,
    ),
    st.sampled_from(["manifests", "referrers"]),
    st.from_regex(r"[a-z0-9:]{1,80}", fullmatch=True),
)
def test_whatever_its_name_a_repository_is_found(name: str, word: str, reference: str) -> None:
    route = find_route(f"/v2/{name}/{word}/{reference}")
    assert (route.repository, route.reference) == (name, reference)
    assert find_route(f"/v2/{name}/tags/list") == Route(Endpoint.TAGS, name)
    assert find_route(f"/v2/{name}/blobs/uploads/") == Route(Endpoint.UPLOADS, name)


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("/v2//", "/v2/"),
        ("//", "/"),
        ("//v2/", "/v2/"),
        ("/v2/_catalog/", "/v2/_catalog"),
        ("/v2/a/tags/list/", "/v2/a/tags/list"),
        ("/v2//a///tags/list", "/v2/a/tags/list"),
        ("/v2/a/manifests/1//", "/v2/a/manifests/1"),
        ("/v2/a//blobs/uploads/", "/v2/a/blobs/uploads/"),
        ("/v2/a/blobs/uploads//", "/v2/a/blobs/uploads/"),
        ("/v2/a/blobs/uploads/x/", "/v2/a/blobs/uploads/x"),
        ("/v2/", None),
        ("/", None),
        ("/v2", None),
        ("/v2/a/blobs/uploads/", None),
        ("/v2/a/tags/list", None),
        ("//evil.test/", None),
        ("/v1//", None),
        ("/v2/a/manifests/", None),
        ("/v2//manifests/1/", None),
    ],
)
def test_too_many_slashes(path: str, clean: str | None) -> None:
    assert clean_path(path) == clean


@given(st.lists(st.sampled_from(["/", "v2", "a", "manifests", "blobs", "uploads", "1", "."])))
def test_a_clean_path_is_clean(parts: list[str]) -> None:
    clean = clean_path("/" + "".join(parts))
    if clean is not None:
        assert clean_path(clean) is None
        assert not clean.startswith("//")
        assert find_route(clean).endpoint is not Endpoint.OTHER
