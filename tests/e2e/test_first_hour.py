"""From a full disk to a free one: each refusal and each "later" ends with a command that works."""

import shlex
from pathlib import Path

import pytest

from jettison.demo.images import image, layer, random_bytes
from tests.support.cli import Jettison, Result
from tests.support.registry import DockerRegistry, RegistryFactory

GOES, STAYS = (image([layer({"app": random_bytes(seed, 2000)})]) for seed in (2, 3))


def last_command(done: Result) -> list[str]:
    """Return the words behind the program's name in the last command that is offered."""
    [*_, line] = [line for line in (done.stdout + done.stderr).splitlines() if "or: " in line]
    words = shlex.split(line.rpartition(": ")[2])
    return words[words.index("jettison") + 1 :]


@pytest.fixture
def young(registry: DockerRegistry) -> DockerRegistry:
    registry.push("app", "1", GOES)
    registry.push("app", "2", STAYS)
    return registry


def test_a_removal_of_what_was_just_pushed_says_how_to_free_it(
    young: DockerRegistry, jettison: Jettison
) -> None:
    removal = ("rm", f"{young.host}/app:1", "--storage", young.storage, "--reclaim")
    planned = jettison(*removal, "-n")
    assert "pushed less than 1 h ago" in planned.stdout
    done = jettison(*removal, "--yes")
    assert "freed, as predicted" not in done.stdout
    assert GOES.layers[0].digest in young.blob_files()
    jettison(*last_command(done), "--yes")
    assert GOES.layers[0].digest not in young.blob_files()
    assert young.pull_skopeo("app", "2").manifest == STAYS.manifest.raw


def test_the_plan_says_how_to_free_it_at_once(young: DockerRegistry, jettison: Jettison) -> None:
    removal = ("rm", f"{young.host}/app:1", "--storage", young.storage, "--reclaim", "--yes")
    planned = jettison(*removal, "-n")
    command = last_command(planned)
    assert command[-3:] == ["--grace", "0s", "--assume-quiescent"]
    jettison(*(word for word in command if word != "-n"))
    assert GOES.layers[0].digest not in young.blob_files()


def test_without_a_grace_period_it_is_refused_once(
    young: DockerRegistry, jettison: Jettison
) -> None:
    removal = ("rm", f"{young.host}/app:1", "--storage", young.storage, "--reclaim", "--yes")
    refused = jettison(*removal, "--grace", "0s", check=12)
    jettison(*last_command(refused))
    assert GOES.layers[0].digest not in young.blob_files()


def test_what_only_a_window_holds_is_freed_by_one_command(
    young: DockerRegistry, jettison: Jettison
) -> None:
    jettison("rm", f"{young.host}/app:1", "--storage", young.storage, "--yes")
    refused = jettison("gc", young.storage, "--now", "--yes", check=12)
    assert GOES.layers[0].digest in young.blob_files()
    jettison(*last_command(refused))
    assert GOES.layers[0].digest not in young.blob_files()


def test_a_later_collection_ends_the_promise_of_a_removal_that_freed_nothing(
    young: DockerRegistry, jettison: Jettison
) -> None:
    removal = ("rm", f"{young.host}/app:1", "--storage", young.storage, "--reclaim", "--yes")
    done = jettison(*removal)
    said = "until the registry is collected again"
    assert said in done.stderr
    assert said in jettison("runs").stdout
    jettison(*last_command(done), "--yes")
    assert said not in jettison("runs").stdout
    assert "no longer held" in jettison("runs").stdout


@pytest.mark.distribution
@pytest.mark.parametrize(
    "known",
    [True, pytest.param(False, marks=pytest.mark.folder)],  # a bucket is known by its file
)
def test_a_cache_that_is_stale_is_told_before_and_after(
    registry_factory: RegistryFactory, jettison: Jettison, *, known: bool
) -> None:
    registry = registry_factory(cache="inmemory", delete=True)
    registry.push("app", "1", GOES)
    registry.push("app", "2", STAYS)
    for blob in GOES.blobs():
        assert registry.request("HEAD", f"/v2/app/blobs/{blob.digest}").status == 200
    target = registry.config if known else registry.root
    jettison("rm", f"{registry.host}/app:1", "--storage", target, "--yes")
    done = jettison("gc", target, "--now", "--assume-quiescent", "--yes")
    before, _, after = done.stderr.partition("next: ")
    assert "restart" in before
    assert after.startswith(f"Restart the registry at {registry.host} now")
    assert "next: " not in after


@pytest.mark.distribution
@pytest.mark.folder  # a bucket is given as the configuration, so nobody has to be asked
def test_a_registry_that_remembers_nothing_is_asked_and_not_blamed(
    registry_factory: RegistryFactory, jettison: Jettison
) -> None:
    registry = registry_factory(delete=True)
    registry.push("app", "1", GOES)
    registry.push("app", "2", STAYS)
    jettison("rm", f"{registry.host}/app:1", "--storage", registry.storage, "--yes")
    done = jettison("gc", registry.storage, "--now", "--assume-quiescent", "--yes")
    assert f"{registry.host} was asked, and promises none" in done.stderr
    assert "next: " not in done.stderr


@pytest.mark.distribution
@pytest.mark.folder  # in a bucket that is refused, as test_verify.py has it
def test_the_plan_of_a_removal_says_that_the_registry_remembers(
    registry_factory: RegistryFactory, jettison: Jettison
) -> None:
    registry = registry_factory(cache="inmemory", delete=True)
    registry.push("app", "1", GOES)
    for storage, word in (
        (registry.config, "remembers blobs (inmemory)"),
        (registry.root, "not known"),
    ):
        removal = ("rm", f"{registry.host}/app:1", "--storage", storage, "--reclaim", "-n")
        assert word in jettison(*removal).stderr


def test_what_people_type_wrong_is_told_with_what_is_right(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    registry.push("app", "1", GOES)
    wrong: dict[tuple[str | Path, ...], str] = {
        ("gc", registry.host, "-n"): "no API gives its storage",
        ("gc", registry.storage, "--untagged", "7"): "'7' needs a unit",
        ("rm", f"{registry.config}/app:1", "-n"): "--storage",
        ("undo", "last"): "see `jettison runs`",
    }
    for command, said in wrong.items():
        assert said in jettison(*command, check=None).stderr


def test_a_removal_and_a_prune_that_reclaim_say_the_same_of_an_undo(
    registry: DockerRegistry, jettison: Jettison, tmp_path: Path
) -> None:
    registry.push("app", "1", GOES)
    registry.push("app", "2", STAYS)
    registry.age(7200)
    reclaim = ("--storage", registry.storage, "--reclaim", "--yes")
    removed = jettison("rm", f"{registry.host}/app:1", *reclaim)
    assert removed.stderr.splitlines()[-1] == "undo: no longer: its blobs are gone"
    registry.push("app", "1", GOES)
    registry.age(7200)
    policy = tmp_path / "retention.yml"
    policy.write_text('max_removal: 60%\nrules: [{tags: ["1"], remove: all}]\n')
    pruned = jettison("prune", registry.host, "--policy", policy, *reclaim)
    assert pruned.stderr.splitlines()[-1] == "undo: no longer: its blobs are gone"


@pytest.mark.distribution  # jettison serve tells when an image was pushed
def test_a_prune_over_the_api_says_how_images_without_a_time_can_go(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    for tag in ("1", "2"):
        app = layer({"app": tag.encode()})
        registry.push("app", tag, image([app], created="1970-01-01T00:00:00Z"))
    planned = jettison("prune", registry.host, "--keep-last", "1", "-n")
    assert "`jettison rm` takes tags by name" in planned.stderr
