"""What ``doctor`` says to do: what is in the way, then what frees most, then what shows more."""

from jettison.jobs.advice import AdviceCode, Findings, advise

STORAGE = Findings("config.yml", storage="config.yml")


def codes(found: Findings) -> list[AdviceCode]:
    return [one.code for one in advise(found)]


def test_nothing_is_said_where_there_is_nothing_to_do() -> None:
    assert advise(STORAGE) == ()


def test_the_order_is_by_what_it_is_good_for() -> None:
    found = Findings(
        "config.yml",
        storage="config.yml",
        mendable="config.yml",
        garbage=5,
        problems=2,
        protected=70,
        untagged=90,
        undo=80,
        window_until=0.0,
        largest=("app", 1000),
        policy="p.yml",
        policy_images=1,
        policy_bytes=85,
    )
    assert codes(found) == [
        AdviceCode.COLLECT,
        AdviceCode.ENABLE,
        AdviceCode.UNTAGGED,
        AdviceCode.PRUNE,
        AdviceCode.UNDO,
        AdviceCode.CHECK,
        AdviceCode.LOOK,
    ]
    told = {one.code: one for one in advise(found)}
    assert told[AdviceCode.COLLECT].arguments == ("gc", "config.yml")
    assert told[AdviceCode.PRUNE].arguments == ("prune", "config.yml", "--policy", "p.yml")
    assert "1970-01-01 00:00 UTC" in told[AdviceCode.UNDO].why
    assert told[AdviceCode.LOOK].arguments[:2] == ("ls", "config.yml/app")


def test_only_what_asks_or_shows_is_advised() -> None:
    """Nothing that is pasted removes anything without a question."""
    found = Findings(
        "h", ("--insecure",), "dir", garbage=1, untagged=1, uploads=1, undo=1, largest=("app", 1),
        policy="p", policy_images=1, policy_bytes=1,
    )  # fmt: skip
    for one in advise(found):
        assert {"--yes", "-y"}.isdisjoint(one.arguments)
        if one.code in {
            AdviceCode.UNTAGGED,
            AdviceCode.UPLOADS,
            AdviceCode.UNDO,
            AdviceCode.TRY_POLICY,
        }:
            assert one.arguments[-1] == "-n"
        if one.arguments[0] in {"prune", "ls"}:
            assert "--insecure" in one.arguments


def test_a_collection_that_would_be_refused_is_shown_first() -> None:
    found = Findings("dir", storage="dir", garbage=1, refused=True)
    assert advise(found)[0].arguments == ("gc", "dir", "-n")


def test_a_policy_that_would_be_refused_is_shown_first() -> None:
    found = Findings("h", policy="p", policy_images=1, policy_refused=True)
    assert advise(found)[0].arguments == ("prune", "h", "--policy", "p", "-n")


def test_without_a_storage_that_can_be_collected_none_is_advised() -> None:
    found = Findings("dir", storage=None, garbage=1, untagged=1, undo=1, problems=1, protected=1)
    assert advise(found) == ()


def test_a_registry_that_does_not_delete_is_not_pruned() -> None:
    found = Findings("h", deletes=False, largest=("app", 1), policy="p", policy_images=1)
    assert codes(found) == [AdviceCode.LOOK]
    assert codes(Findings("h", login=True)) == [AdviceCode.LOGIN]


def test_a_policy_is_proposed_where_none_is_given() -> None:
    assert codes(Findings("h", largest=("app", 1))) == [AdviceCode.TRY_POLICY, AdviceCode.LOOK]
    given = Findings("h", largest=("app", 1), policy="p")
    assert codes(given) == [AdviceCode.LOOK]
