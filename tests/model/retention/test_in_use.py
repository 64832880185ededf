"""What lists of images in use hold, and which lists are refused."""

import json
from typing import Any

import pytest

from jettison.errors import InvalidDocument, Refused
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.model.retention.decide import Held
from jettison.model.retention.in_use import held_together, read_in_use, understand
from tests.model.retention.building import Repository, decided, digest_of, kept, removed

ONE = Digest(f"sha256:{'1' * 64}")
TWO = Digest(f"sha256:{'2' * 64}")
ALL = 'rules: [{tags: ["*"], remove: all}, {state: untagged, remove: all}]'


def read(content: object, *, may_be_empty: bool = False) -> Held:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return read_in_use(raw, "list", may_be_empty=may_be_empty)


def names(content: object) -> list[str]:
    held = read(content)
    return sorted([f"{name}:{tag}" for name, tag in held.tags] + [str(d) for d in held.digests])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("localhost:5000/team/app:1.0", ["team/app:1.0"]),
        ("docker://registry.example.com/team/app:1.0", ["team/app:1.0"]),
        ("[::1]:5000/team/app", ["team/app:latest"]),
        ("Mirror/team/app", ["team/app:latest"]),
        ("team/app:1", ["team/app:1"]),
        ("nginx", ["library/nginx:latest", "nginx:latest"]),
        ("nginx:1.2", ["library/nginx:1.2", "nginx:1.2"]),
        ("docker.io/library/nginx:1.2", ["library/nginx:1.2", "nginx:1.2"]),
        ("reg:5000/nginx:1.2", ["library/nginx:1.2", "nginx:1.2"]),
        (f"reg:5000/team/app@{ONE}", [str(ONE)]),
        (f"docker-pullable://reg:5000/team/app@{ONE}", [str(ONE)]),
        (f"reg:5000/team/app:1@{ONE}", [str(ONE), "team/app:1"]),
        (str(ONE), [str(ONE)]),
        (ONE.hex, [str(ONE)]),
    ],
)
def test_reference_is_understood(text: str, found: list[str]) -> None:
    assert names(text.encode()) == found


@pytest.mark.parametrize(
    "text",
    [
        "NAMESPACE   NAME    READY",
        "apiVersion: v1",
        "- nginx",
        "nginx:1 nginx:2",
        "reg:5000/Team/app:1",
        "reg:5000/team/app:",
        "reg:5000/team/app@sha256:12",
        "reg:5000/",
        "http://reg:5000/team/app",
        "3f5a1b2c3d4e",
        f"sha256:{'1' * 12}",
        "\x1b[31mred",
    ],
)
def test_line_that_is_no_reference_refuses_the_list(text: str) -> None:
    with pytest.raises(InvalidDocument) as raised:
        read(f"team/app:1\n{text}\n".encode())
    assert "line 2" in raised.value.message
    assert "\x1b" not in raised.value.message


def test_every_line_that_is_wrong_is_told_up_to_five() -> None:
    with pytest.raises(InvalidDocument) as raised:
        read(b"\n".join(b"a b" for _ in range(7)))
    assert "line 5" in raised.value.message
    assert "and 2 more" in raised.value.message


def test_comments_and_blank_lines_are_no_references() -> None:
    text = b"# production\r\n\r\nteam/app:1  # the shop\r\n   # nothing\r\n"
    assert names(text) == ["team/app:1"]


def test_text_of_powershell_is_read() -> None:
    assert names("team/app:1\r\n".encode("utf-16")) == ["team/app:1"]
    assert names(b"\xef\xbb\xbfteam/app:1") == ["team/app:1"]
    with pytest.raises(InvalidDocument, match="UTF-8"):
        read(b"team/app:1\xff")


@pytest.mark.parametrize(
    "content",
    [b"", b"\n# nothing\n", b"[]", {"kind": "List", "items": []}, {"images": []}],
)
def test_list_that_names_nothing_is_refused_unless_it_is_meant(content: object) -> None:
    with pytest.raises(Refused) as raised:
        read(content)
    assert raised.value.again == ("--in-use-may-be-empty",)
    assert read(content, may_be_empty=True) == Held()


def pod(**members: Any) -> dict[str, Any]:
    spec = members.pop("spec", None) or {"containers": [{"name": "web", "image": "team/web:1"}]}
    return {
        "kind": "Pod",
        "metadata": {"name": "web-1", "namespace": "shop"},
        "spec": spec,
        **members,
    }


def pods(*items: object) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": items, "metadata": {"resourceVersion": ""}}


def test_pods_hold_what_they_ask_for_and_what_they_run() -> None:
    one = pod(
        spec={
            "containers": [{"name": "web", "image": "reg:5000/team/web:1", "resources": {}}],
            "initContainers": [{"name": "init", "image": "team/init:1"}],
            "ephemeralContainers": [{"name": "debug", "image": "team/debug:1"}],
            "volumes": [
                {"name": "model", "image": {"reference": "team/model:1"}},
                {"name": "empty", "emptyDir": {}},
            ],
        },
        status={
            "containerStatuses": [
                {
                    "name": "web",
                    "image": "reg:5000/team/web:old",
                    "imageID": f"docker-pullable://reg:5000/team/web@{ONE}",
                }
            ],
            "initContainerStatuses": [{"name": "init", "image": "", "imageID": ""}],
            "ephemeralContainerStatuses": [
                {"name": "debug", "image": f"sha256:{'3' * 64}", "imageID": str(TWO)}
            ],
        },
    )
    assert names(pods(one)) == [
        str(ONE),
        str(TWO),
        f"sha256:{'3' * 64}",
        "team/debug:1",
        "team/init:1",
        "team/model:1",
        "team/web:1",
        "team/web:old",
    ]


def test_users_are_named_and_counted() -> None:
    held = read(pods(pod(), pod(), pod()))
    assert held.tags[RepoName("team/web"), Tag("1")] == "pod shop/web-1 and 2 more"


@pytest.mark.parametrize(
    "kind", ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "Rollout"]
)
def test_what_starts_pods_holds_their_images(kind: str) -> None:
    scaled = {
        "kind": kind,
        "metadata": {"name": "web"},
        "spec": {"replicas": 0, "template": {"spec": pod()["spec"]}},
    }
    assert names(scaled) == ["team/web:1"]
    assert names(pods({"kind": "Service", "metadata": {"name": "web"}}, scaled)) == ["team/web:1"]


def test_cron_job_holds_its_image() -> None:
    template = {"template": {"spec": pod()["spec"]}}
    job = {"kind": "CronJob", "metadata": {"name": "nightly"}, "spec": {"jobTemplate": {}}}
    with pytest.raises(InvalidDocument):
        read(pods(job))
    job["spec"] = {"schedule": "0 1 * * *", "jobTemplate": {"spec": template}}
    assert names(pods(job)) == ["team/web:1"]


def test_answer_of_the_api_has_the_kind_of_its_items() -> None:
    item = pod()
    del item["kind"]
    listed = {"kind": "PodList", "metadata": {}, "items": [item]}
    assert names(listed) == ["team/web:1"]
    with pytest.raises(InvalidDocument, match="first part"):
        read({**listed, "metadata": {"continue": "eyJ2Ijoi", "remainingItemCount": 9}})


@pytest.mark.parametrize(
    "content",
    [
        pods({"kind": "Service"}, {"kind": "Database", "metadata": {"name": "x"}}),
        pods(pod(), pod(spec={"containers": [{"name": "web"}]})),
        pods(pod(), pod(spec={"containers": [{"name": "web", "image": "3f5a1b2c3d4e"}]})),
        pods(pod(), {"kind": "Pod"}),
        pods(pod(), 7),
        {"some": "thing"},
        [{"Repository": "app", "Tag": "1"}],
        {},
        [3],
        {"images": [{"repoTags": ["team/web:1"]}]},
        {"Image": "3f5a1b2c3d4e", "Names": "web"},
        {"Image": ONE.hex, "Names": ["web"]},
        {"Image": "", "Names": "web"},
        {"Spec": {"Name": "config"}},
        b'{"Image": "team/web:1"}\n{"Image": "team/',
        b"[[",
        b"{" * 200,
    ],
)
def test_what_is_not_understood_is_an_error(content: object) -> None:
    with pytest.raises(InvalidDocument):
        read(content)


def test_docker_and_nerdctl_ps_have_one_object_on_each_line() -> None:
    lines = [
        {"Command": '"nginx"', "ID": "c0ffee", "Image": "reg:5000/team/web:1", "Names": "web"},
        {"ID": "beef", "Image": "docker.io/library/nginx:2", "Names": "proxy", "Ports": ""},
    ]
    raw = b"\n".join(json.dumps(line).encode() for line in lines) + b"\n"
    assert names(raw) == ["library/nginx:2", "nginx:2", "team/web:1"]
    assert names(lines) == ["library/nginx:2", "nginx:2", "team/web:1"]
    assert read(raw).tags[RepoName("team/web"), Tag("1")] == "container web"


def test_docker_inspect_tells_what_a_moved_tag_was() -> None:
    container = {
        "Id": "c0ffee",
        "Name": "/web",
        "Image": str(ONE),
        "Config": {"Image": "team/web:1", "Env": []},
        "ImageManifestDescriptor": {"digest": str(TWO), "size": 500},
    }
    assert names([container]) == [str(ONE), str(TWO), "team/web:1"]
    image = {
        "Id": str(ONE),
        "RepoTags": ["team/web:1", "<none>:<none>"],
        "RepoDigests": [f"team/web@{TWO}"],
        "Config": {"Image": ""},
    }
    assert names([image]) == [str(ONE), str(TWO), "team/web:1"]


def test_services_of_a_swarm_hold_what_they_roll_back_to() -> None:
    def spec(image: str) -> object:
        return {"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": image}}}

    service = {
        "ID": "x",
        "Spec": spec(f"team/web:2@{TWO}"),
        "PreviousSpec": spec(f"team/web:1@{ONE}"),
    }
    assert names([service]) == [str(ONE), str(TWO), "team/web:1", "team/web:2"]
    listed = {"ID": "x", "Image": "team/web:2", "Mode": "replicated", "Name": "web"}
    assert read(listed).tags[RepoName("team/web"), Tag("2")] == "container web"


def test_podman_names_an_image_and_its_id() -> None:
    # From `podman ps -a --format json` and `podman inspect` of Podman 4.3.1.
    listed = [
        {
            "Command": ["/hi"],
            "Id": "ac0a7a4b20f39c8521a9fa2ae153b38a8e6f5948ebeaeb869444251acbfc09d3",
            "Image": "localhost:5000/team/web:1",
            "ImageID": ONE.hex,
            "IsInfra": False,
            "Names": ["web"],
        },
        {"Id": "b", "Image": "", "ImageID": "", "IsInfra": True, "Names": ["infra"]},
    ]
    assert names(listed) == [str(ONE), "team/web:1"]
    inspected = {
        "Id": "ac0a7a4b20f3",
        "Image": ONE.hex,
        "ImageDigest": str(TWO),
        "ImageName": "localhost:5000/team/web:1",
        "Name": "web",
        "Config": {"Image": "localhost:5000/team/web:1"},
    }
    assert names([inspected]) == [str(ONE), str(TWO), "team/web:1"]


def test_crictl_lists_images_and_containers() -> None:
    images = {
        "images": [
            {
                "id": str(ONE),
                "repoTags": ["reg:5000/team/web:1"],
                "repoDigests": [f"reg:5000/team/web@{TWO}"],
                "size": "100",
            },
            {"id": f"sha256:{'3' * 64}", "repoTags": [], "repoDigests": []},
        ]
    }
    assert names(images) == [str(ONE), str(TWO), f"sha256:{'3' * 64}", "team/web:1"]
    containers = {
        "containers": [
            {
                "id": "c0ffee",
                "metadata": {"name": "web", "attempt": 0},
                "image": {"image": str(ONE), "userSpecifiedImage": "reg:5000/team/web:1"},
                "imageRef": str(ONE),
            }
        ]
    }
    assert names(containers) == [str(ONE), "team/web:1"]


def test_list_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jettison.model.retention.in_use.LARGEST", 100)
    with pytest.raises(InvalidDocument, match="larger"):
        read(b"team/app:1\n" * 10)


def test_lists_are_held_together() -> None:
    both = held_together([read(b"team/app:1"), read(f"team/app:1\n{ONE}".encode())])
    assert list(both.tags.values()) == ["line 1"]
    assert list(both.digests) == [ONE]


def test_short_id_is_not_taken_for_a_repository() -> None:
    assert understand("cafecafecafe") is None
    assert understand("cafe") is not None
    assert understand("cafecafecafe:1") is not None


def test_image_in_use_by_tag_or_digest_stays() -> None:
    repository = Repository()
    repository.add("one", "1.0", pushed=90)
    repository.add("two", "2.0", "2", pushed=90)
    repository.add("three", "3.0", pushed=90)
    held = read(f"mirror:5000/team/app:1.0\nelsewhere/other@{digest_of('two')}".encode())
    found = decided(repository, ALL, held)
    assert kept(found) == {"1.0": "in-use", "2": "in-use", "2.0": "in-use"}
    assert removed(found) == {"3.0": "all"}
    assert [d.sentence for d in found.decisions if d.tag == "1.0"] == ["in use: line 1"]


def test_child_config_and_referrer_in_use_hold_the_image_that_they_belong_to() -> None:
    for used in ("child", "child config", "signature", "sbom"):
        repository = Repository()
        index = repository.add("index", "1.0", pushed=90, children=["child", "other"])
        repository.add("child", pushed=90)
        repository.add("other", "1.0-arm64", pushed=90)
        repository.add("sbom", pushed=90, subject="index")
        repository.add("signature", f"sha256-{index.hex}.sig", pushed=90)
        found = decided(repository, ALL, read(str(digest_of(used)).encode()))
        assert kept(found) == {"1.0": "in-use", "1.0-arm64": "follows"}, used


def test_tag_of_a_child_in_use_stays_though_its_index_goes() -> None:
    repository = Repository()
    repository.add("index", "1.0", pushed=90, children=["child"])
    repository.add("child", "1.0-arm64", pushed=90)
    found = decided(repository, ALL, read(b"team/app:1.0-arm64"))
    assert kept(found) == {"1.0-arm64": "in-use"}
