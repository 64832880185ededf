"""The traps of retention whose way to go wrong is in what a registry tells, on two registries.

Each trap by its number, and the tests that go into it. Where a line names the model alone, the trap
is a decision that no registry has a part in.

| trap | test |
|---|---|
| 1, 2 | test_1_2_30_no_image_is_old_by_a_date_that_says_nothing |
| 3 | test_3_9_an_index_is_as_old_as_its_newest_child |
| 4 | model/retention/test_traps.py::test_4_ties_go_by_no_listing_order |
| 5 | model/retention/test_traps.py::test_5_older_is_strict_to_the_second |
| 6, 7 | test_6_7_8_29_images_are_counted_and_shared_ones_stay |
| 8 | test_8_what_another_repository_holds_frees_nothing |
| 9 | test_3_9_28_what_has_no_tag_of_its_own_is_not_rubbish |
| 9 | test_3_9_an_index_is_as_old_as_its_newest_child |
| 9 | test_9_untagged_in_use_stays_with_what_it_lists |
| 9 | e2e/test_prune.py::test_untagged_goes_over_the_api_of_our_own_server |
| 10 | test_10_16_17_each_age_is_by_its_own_clock |
| 10 | e2e/test_push_times.py::test_an_overwritten_tag_tells_since_when |
| 11 | model/retention/test_traps.py::test_11_patterns_are_of_the_whole_name |
| 12 | model/retention/test_traps.py::test_12_a_list_is_any_of_them |
| 13 | model/retention/test_traps.py::test_13_the_order_of_rules_changes_no_outcome |
| 14 | model/retention/test_traps.py::test_14_what_no_rule_names_stays |
| 15 | model/retention/test_traps.py::test_15_age_and_count_have_two_names |
| 16 | test_10_16_17_each_age_is_by_its_own_clock |
| 16 | e2e/test_pulls.py::test_what_was_not_pulled_goes_once_that_is_known |
| 16 | e2e/test_listen.py::test_pulls_of_skopeo_are_known_and_the_rest_goes |
| 17 | test_10_16_17_each_age_is_by_its_own_clock |
| 17 | e2e/test_prune.py::test_old_images_that_were_mirrored_just_now_stay |
| 18 | model/retention/test_traps.py::test_18_days_are_those_of_a_named_zone |
| 19 | test_19_clocks_that_differ_refuse |
| 20 | model/retention/test_traps.py::test_20_names_do_not_sort |
| 21 | model/retention/test_traps.py::test_21_groups_are_told_and_most_of_one_is_warned_of |
| 22 | test_22_a_list_that_is_not_complete_leaves_its_repository |
| 22 | e2e/test_explain.py::test_storage_that_was_damaged_is_told_and_nothing_goes |
| 23, 24, 25 | test_23_24_25_nothing_changes_but_by_a_plan_of_now |
| 24 | e2e/test_prune.py::test_plan_is_stale_if_what_was_to_stay_is_gone |
| 25 | e2e/test_in_use.py::test_what_a_cluster_runs_stays |
| 26 | test_26_what_is_immutable_is_left_and_the_rest_goes |
| 26 | e2e/test_prune_refused.py::test_repository_that_refuses_ends_none_of_the_others |
| 27 | model/retention/test_traps.py::test_27_dates_and_numbers_are_computed |
| 27 | e2e/test_explain.py::test_what_is_explained_is_what_is_done |
| 28 | test_3_9_28_what_has_no_tag_of_its_own_is_not_rubbish |
| 28 | e2e/test_prune.py::test_storage_alone_is_pruned_collected_and_undone |
| 29 | test_6_7_8_29_images_are_counted_and_shared_ones_stay |
| 29 | jobs/test_prune_interrupted.py::test_second_tool_removes_the_same_meanwhile |
| 30 | test_1_2_30_no_image_is_old_by_a_date_that_says_nothing |
"""

import re
import time
from datetime import timedelta
from pathlib import Path

import pytest

from jettison.demo import images
from jettison.demo.images import Image, Index
from tests.e2e.test_prune import NOW
from tests.e2e.test_prune import image as aged
from tests.support.cli import Jettison
from tests.support.registry import SERVERS, DockerRegistry, RegistryFactory

both = pytest.mark.parametrize("program", SERVERS)
DAY = 86400.0
KEEP = ("--match", "b*", "--keep-last", "4", "--clock", "created", "--max-removal", "60%")
ALL = [f"b{number}" for number in range(1, 7)]


def push_builds(registry: DockerRegistry, repo: str, first: int = 0) -> None:
    """Six builds, one a day, b6 the newest."""
    for number in range(1, 7):
        registry.push(repo, f"b{number}", aged(first + number, 10 - number))


def dated(number: int, created: str) -> Image:
    own = images.layer({"own": images.random_bytes(number, 200)})
    return images.image([own], created=created)


def note_untagged(registry: DockerRegistry, jettison: Jettison, place: str | Path) -> None:
    """Let a run note what has no tag: a bucket does not tell in another way since when."""
    if registry.in_bucket:
        command = ("prune", place, "--untagged", "1s", "--trust-times", "--yes")
        assert "Nothing is to be removed" in jettison(*command).stderr
        time.sleep(2)


def require_whole(registry: DockerRegistry, repo: str, content: Image | Index) -> None:
    for one in content.manifests():
        assert registry.manifest(repo, str(one.digest)).body == one.raw
    for blob in content.blobs():
        assert registry.request("GET", f"/v2/{repo}/blobs/{blob.digest}").body == blob.raw


@both
def test_1_2_30_no_image_is_old_by_a_date_that_says_nothing(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    for number, created in enumerate(
        (
            "1970-01-01T00:00:00Z",
            "1980-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "2099-01-01T00:00:00Z",
        )
    ):
        registry.push("dates", f"b{number}", dated(number, created))
    registry.push("dates", "dated", dated(9, "2024-03-01T00:00:00Z"))
    for number in range(4):
        registry.push("same", f"b{number}", dated(10 + number, "2024-05-01T12:00:00Z"))
    chart = images.signature(dated(20, "2024-05-01T12:00:00Z"))
    registry.push("charts", "1.0", chart)
    options = ("--older-than", "1d", "--clock", "created", "--max-removal", "100%")
    found = jettison("prune", registry.host, *options, "-n", "-o", "json").json["plan"]
    assert [one["tag"] for one in found["decisions"]] == ["dated"]


@both
def test_3_9_28_what_has_no_tag_of_its_own_is_not_rubbish(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    arm = aged(1, 3)
    provenance = images.image([images.layer({"p": b"slsa"})], architecture="unknown", os="unknown")
    multi = images.index([arm, provenance])
    registry.push("app", "1.0", multi)
    sbom = images.referrer(multi, "application/spdx+json", b"{}")
    registry.push("app", None, sbom)
    registry.push("app", images.referrers_tag(multi.digest), images.fallback_index([sbom]))
    signed = images.signature(multi)
    registry.push("app", images.cosign_tag(multi.digest), signed)
    lost = aged(2, 3)
    registry.push("app", "latest", lost)
    registry.push("app", "latest", aged(3, 2))
    registry.age(60)
    more = ("--trust-times", "--max-removal", "100%", "--without-undo", "--yes")
    now = ("--grace", "0s", "--assume-quiescent")
    note_untagged(registry, jettison, registry.storage)
    prune = ("prune", registry.storage, "--untagged", "1s", *more)
    if registry.reclaims:
        jettison(*prune, "--reclaim", *now)
    else:
        assert "nothing can be hidden" in jettison(*prune, "--reclaim", *now, check=12).stderr
        jettison(*prune)
        with registry.at_rest() as quiet:
            jettison("gc", registry.storage, "--now", *quiet, "--yes")
    assert registry.manifest("app", str(lost.digest)).status == 404
    for kept in (multi, sbom, signed, aged(3, 2)):
        require_whole(registry, "app", kept)
    assert lost.manifest.digest not in registry.blob_files()


@both
def test_6_7_8_29_images_are_counted_and_shared_ones_stay(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    for number in range(1, 6):
        registry.push("app", f"b{number}", aged(number, 10 - number))
        registry.push("app", f"b{number}-too", aged(number, 10 - number))
        signed = images.signature(aged(number, 10 - number))
        registry.push("app", images.cosign_tag(aged(number, 10 - number).digest), signed)
    registry.push("app", "v1", aged(1, 9))
    registry.push("other", "stays", aged(2, 8))
    plan = registry.base / "plan.json"
    options = ("--match", "b*", "--keep-last", "2", "--clock", "created", "--out", plan)
    jettison("prune", f"{registry.host}/app", *options, "--max-removal", "90%")
    registry.delete("app", str(aged(3, 7).digest))
    jettison("apply", plan, "--yes")
    # That of the image which another tool removed is an orphan by now, which has a rule of its own.
    signatures = {images.cosign_tag(aged(n, 10 - n).digest) for n in (1, 3, 4, 5)}
    stays = {"b4", "b4-too", "b5", "b5-too", "v1", *signatures}
    assert set(registry.tags("app")) == stays
    registry.age(30 * 86400)
    jettison("gc", registry.storage, "--grace", "0s", "--assume-quiescent", "--yes")
    require_whole(registry, "app", aged(1, 9))
    require_whole(registry, "other", aged(2, 8))


@both
def test_3_9_an_index_is_as_old_as_its_newest_child(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    shared = aged(1, 400)
    said = {"org.opencontainers.image.created": f"{NOW - timedelta(days=5):%Y-%m-%dT%H:%M:%SZ}"}
    indexes = {
        "old": images.index([shared, aged(2, 300)]),
        "new": images.index([shared, aged(3, 3)]),
        "said": images.index([shared, aged(4, 200)], annotations=said),
    }
    attested = {tag: images.cosign_tag(one.digest, ".att") for tag, one in indexes.items()}
    for tag, one in indexes.items():
        registry.push("app", tag, one)
        registry.push("app", attested[tag], images.signature(one))
    options = ("--older-than", "30d", "--clock", "created", "--max-removal", "100%", "--yes")
    jettison("prune", registry.host, *options)
    assert registry.tags("app") == sorted(["new", "said", attested["new"], attested["said"]])
    for tag in ("new", "said"):
        require_whole(registry, "app", indexes[tag])
        require_whole(registry, "app", images.signature(indexes[tag]))
    assert registry.manifest("app", str(aged(2, 300).digest)).status == 404


@both
def test_8_what_another_repository_holds_frees_nothing(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    for number in range(1, 5):
        registry.push("app", f"b{number}", aged(number, 100 * number))
    registry.push("other", "stays", aged(4, 400))
    before = registry.blob_files()
    place = (f"{registry.host}/app", "--storage", registry.storage)
    options = ("--older-than", "350d", "--clock", "created", "--max-removal", "100%")
    sizes = jettison("prune", *place, *options, "-n", "-o", "json").json["plan"]["bytes"]
    assert (sizes["freed_bytes"], [one["repository"] for one in sizes["holders"]]) == (0, ["other"])
    now = ("--reclaim", "--without-undo", "--grace", "0s", "--assume-quiescent", "--yes")
    if registry.reclaims:
        jettison("prune", *place, *options, *now)
    else:
        assert "nothing can be hidden" in jettison("prune", *place, *options, *now, check=12).stderr
        assert registry.tags("app") == ["b1", "b2", "b3", "b4"]
        jettison("prune", *place, *options, "--without-undo", "--yes")
        with registry.at_rest() as quiet:
            jettison("gc", registry.storage, "--now", *quiet, "--yes")
    assert registry.tags("app") == ["b1", "b2", "b3"]
    assert registry.blob_files() == before
    require_whole(registry, "other", aged(4, 400))


@both
def test_9_untagged_in_use_stays_with_what_it_lists(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    rubbish, inner = aged(3, 3), aged(2, 3)
    used = images.index([aged(1, 3), images.index([inner])])
    for content in (rubbish, used, aged(4, 3)):
        registry.push("app", "latest", content)
    bill = images.cosign_tag(used.digest, ".sbom")
    registry.push("app", bill, images.signature(used))
    registry.age(60)
    options = ("--untagged", "1s", "--trust-times", "--max-removal", "100%", "--in-use", "-")
    note_untagged(registry, jettison, registry.storage)
    running = f"elsewhere.example/app@{inner.digest}\n"
    jettison("prune", registry.storage, *options, "--yes", stdin=running)
    assert registry.manifest("app", str(rubbish.digest)).status == 404
    require_whole(registry, "app", used)
    assert registry.tags("app") == ["latest", bill]


@both
def test_10_16_17_each_age_is_by_its_own_clock(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    replaced = aged(1, 3)
    for number, tag in enumerate(("latest", "b7", "b8", "b9"), 1):
        registry.push("app", tag, aged(number, 3))
    registry.age(400 * DAY)
    registry.push("app", "latest", aged(5, 2))
    registry.push("app", "stable", aged(2, 3))

    trusting = ("--trust-times", "--max-removal", "100%")

    def prune(*options: str | Path, check: int = 0) -> None:
        jettison("prune", registry.storage, *trusting, *options, check=check)

    # Pushed long ago, and without a tag since just now.
    prune("--untagged", "7d", "--yes")
    assert registry.manifest("app", str(replaced.digest)).status == 200
    # Nobody wrote down who pulled it.
    prune("--not-pulled-within", "30d", "--yes")
    assert registry.tags("app") == ["b7", "b8", "b9", "latest", "stable"]
    # b7 is promoted, and so as new as that; b8 is pushed again while the plan waits.
    plan = registry.base / "plan.json"
    prune("--older-than", "30d", "--out", plan)
    registry.push("app", "b8", aged(3, 3))
    told = jettison("apply", plan, "--yes", check=13)
    assert "b8" in told.stderr
    jettison("apply", plan, "--yes", "--skip-moved", check=3)
    assert registry.tags("app") == ["b7", "b8", "latest", "stable"]
    later = jettison.later(8 * DAY)
    later("prune", registry.storage, *trusting, "--untagged", "7d", "--yes")
    assert registry.manifest("app", str(replaced.digest)).status == 404
    require_whole(registry, "app", aged(2, 3))


@both
def test_19_clocks_that_differ_refuse(registry: DockerRegistry, jettison: Jettison) -> None:
    push_builds(registry, "app")
    for seconds in (-120.0, 120.0):
        told = jettison.later(seconds)("prune", registry.host, *KEEP, "--yes", check=4)
        assert "--ignore-clock" in told.stderr
        assert registry.tags("app") == ALL


@both
def test_22_a_list_that_is_not_complete_leaves_its_repository(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    push_builds(registry, "app")
    push_builds(registry, "web", 10)
    newest = aged(6, 4).digest.hex
    data = registry.tree / "blobs" / "sha256" / newest[:2] / newest / "data"
    whole = data.read_bytes()
    data.write_bytes(whole[:40])
    assert registry.manifest("app", "b6").status == 500
    # A dry run lists what the run removes, and ends as it does.
    for way in ("-n", "--yes"):
        done = jettison("prune", registry.host, *KEEP, way, check=3)
        assert "To go: 2 tags and 2 manifests (2 images)" in done.stdout
        assert [line.split()[1] for line in done.stdout.splitlines()[1:3]] == ["web", "web"]
        assert "app" in done.stderr
    assert registry.tags("app") == ALL
    assert registry.tags("web") == ["b3", "b4", "b5", "b6"]
    data.write_bytes(whole)
    jettison("prune", registry.host, *KEEP, "--yes")
    assert registry.tags("app") == ["b3", "b4", "b5", "b6"]


@both
def test_23_24_25_nothing_changes_but_by_a_plan_of_now(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    push_builds(registry, "app")
    before, asked = registry.snapshot(), len(registry.accesses())
    plan = registry.base / "plan.json"
    jettison("prune", registry.host, *KEEP, "-n")
    jettison("prune", registry.storage, *KEEP, "--reclaim", "-n")
    jettison("prune", registry.host, *KEEP, "--out", plan)
    # The pattern is wrong, and so all goes.
    everything = ("--older-than", "1h", "--clock", "created", "--max-removal", "100%", "--yes")
    told = jettison("prune", registry.host, *everything, check=4)
    assert "--allow-all-tags" in told.stderr
    assert registry.snapshot() == before
    assert {one.method for one in registry.accesses()[asked:]} <= {"GET", "HEAD"}
    registry.push("app", "b1", aged(77, 0))
    told = jettison("apply", plan, "--yes", check=13)
    assert "b1" in told.stderr
    assert registry.tags("app") == ALL
    jettison("apply", plan, "--yes", "--skip-moved", check=3)
    assert registry.tags("app") == ["b1", "b3", "b4", "b5", "b6"]
    require_whole(registry, "app", aged(77, 0))


@pytest.mark.parametrize("program", ["jettison"])
def test_26_what_is_immutable_is_left_and_the_rest_goes(
    registry_factory: RegistryFactory, jettison: Jettison
) -> None:
    registry = registry_factory(delete=True, extra={"jettison": {"immutable": ["b1"]}})
    push_builds(registry, "app")
    push_builds(registry, "web", 10)
    registry.push("web", "b2-too", aged(12, 8))
    told = jettison("prune", registry.host, *KEEP, "--yes", check=3)
    # In each repository b1 is refused.
    assert "2 of 4 steps were not done" in told.stderr
    assert registry.tags("app") == registry.tags("web") == ["b1", "b3", "b4", "b5", "b6"]
    # Who knows the configuration knows it before.
    jettison("prune", registry.config, *KEEP, "--yes")
    require_whole(registry, "app", aged(1, 9))


def test_each_trap_has_tests_that_exist() -> None:
    assert __doc__ is not None
    rows = re.findall(r"^\| ([0-9, ]+) \| (?:(\S+)::)?(test_\w+) \|$", __doc__, re.MULTILINE)
    numbers = {int(number) for traps, _, _ in rows for number in traps.split(",")}
    assert numbers == set(range(1, 31))
    assert len(rows) == __doc__.count("\n| ") - 1
    here = Path(__file__)
    for _, file, name in rows:
        text = (here.parents[1] / file if file else here).read_text("utf-8")
        assert re.search(rf"def {name}\b", text), f"{file}::{name}"
