"""What a listing could not tell, in words and codes."""

import pytest

from jettison.errors import (
    AccessDenied,
    InvalidManifest,
    JettisonError,
    LoginRefused,
    RegistryFailing,
    StorageError,
    UnexpectedResponse,
)
from jettison.model.listing_problems import ListingProblem, ProblemCode, summarized


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AccessDenied, ProblemCode.DENIED),
        (LoginRefused, ProblemCode.DENIED),
        (RegistryFailing, ProblemCode.FAILING),
        (UnexpectedResponse, ProblemCode.UNEXPECTED),
        (InvalidManifest, ProblemCode.DAMAGED),
        (StorageError, ProblemCode.DAMAGED),
    ],
)
def test_codes(error: type[JettisonError], code: ProblemCode) -> None:
    assert ListingProblem.of("1.0", error("why")) == ListingProblem(code, "1.0", "why")


def test_a_name_that_no_request_can_carry_is_all_there_is_to_know() -> None:
    lacking = {code: ListingProblem(code, "x", "y").lacking for code in ProblemCode}
    assert [code for code, lacks in lacking.items() if not lacks] == [ProblemCode.INVALID_NAME]


@pytest.mark.parametrize(
    ("count", "what", "expected"),
    [
        (1, "tag", "1 tag could not be read (t0: why)"),
        (2, "repository", "2 repositories could not be read (t0: why; t1: why)"),
        (1005, "tag", "1,005 tags could not be read (t0: why; t1: why; t2: why; and 1,002 more)"),
    ],
)
def test_many_are_one_sentence(count: int, what: str, expected: str) -> None:
    problems = [ListingProblem(ProblemCode.FAILING, f"t{n}", "why") for n in range(count)]
    assert summarized(problems, what) == expected
