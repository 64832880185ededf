"""Every page is a test: what it shows is what its commands print."""

from pathlib import Path

import pytest

from docs.build_site import ROOT
from tests.pages.reading import pages
from tests.pages.running import faults, record

pytestmark = pytest.mark.e2e


@pytest.mark.distribution
@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_says_what_its_commands_print(
    page: Path, tmp_path: Path, warm: Path, request: pytest.FixtureRequest
) -> None:
    if request.config.getoption("--golden"):
        record(page, tmp_path / "recorded", warm)
    assert "\n\n".join(faults(page, tmp_path / "run", warm)) == ""
