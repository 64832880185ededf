"""The documentation site: built strictly, with each link and anchor, and nothing from elsewhere."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from docs.build_site import build, documents, lay_out, place

LOADING = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}
"""What a browser fetches by itself, and where it is named."""


CODE = re.compile(r"<pre.*?</pre>|<script.*?</script>", re.DOTALL)
FETCHED = re.compile(r"(?:@import\s*|url\()[\"']?(?:https?:)?//")


class Page(HTMLParser):
    """The links of a page, what it loads, and the names that can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links = list[str]()
        self.loaded = list[str]()
        self.names = set[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.names |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in LOADING and LOADING[tag] in found:
            self.loaded.append(found[LOADING[tag]])


def is_elsewhere(link: str) -> bool:
    parts = urlsplit(link)
    return bool(parts.scheme or parts.netloc) and parts.scheme != "data"


def leads(path: Path, link: str, read: Mapping[Path, Page]) -> bool:
    """Whether there is what a link of the file `path` leads to."""
    parts = urlsplit(link)
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    target = target / "index.html" if target.is_dir() else target
    names = read[target].names if target in read else {unquote(parts.fragment)}
    return target.is_file() and (not parts.fragment or unquote(parts.fragment) in names)


def broken(site: Path) -> Iterator[str]:
    """The links of a site that lead nowhere, and what it would load from elsewhere."""
    read = {path: Page(path.read_text("utf-8")) for path in site.rglob("*.html")}
    for path, page in read.items():
        here = path.relative_to(site)
        if path.name != "404.html":
            yield from (f"{here} loads {link}" for link in page.loaded if is_elsewhere(link))
            links = [link for link in [*page.links, *page.loaded] if not is_elsewhere(link)]
            yield from (f"{here}: {link}" for link in links if not leads(path, link, read))
    for style in site.rglob("*.css"):
        if found := FETCHED.search(style.read_text("utf-8")):
            yield f"{style.relative_to(site)} loads {found[0]}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build(folder / "site", folder / "work")
    return folder / "site"


@pytest.mark.xdist_group("site")
def test_every_link_leads_somewhere_and_nothing_comes_from_elsewhere(site: Path) -> None:
    assert list(broken(site)) == []


@pytest.mark.xdist_group("site")
def test_every_document_is_on_the_site(site: Path) -> None:
    for path in documents():
        name = re.sub(r"(README|index)\.md$", "index.md", place(path.as_posix()))
        assert (site / name).with_suffix(".html").is_file(), name


@pytest.mark.xdist_group("site")
def test_no_markup_is_left(site: Path) -> None:
    """What GitHub reads as a fence, a list or a bar in code, the site does too."""
    for path in site.rglob("*.html"):
        if path.relative_to(site).parts[0] == "source":
            continue
        text = CODE.sub("", path.read_text("utf-8"))
        assert "```" not in text, path
        assert "<!-- run" not in text, path
        assert not re.search(r"<p>[^<]*\n(- |\d\. )", text), path
        assert not re.search(r"<code>[^<]*\\\|", text), path


def test_what_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<h1 id="here">A</h1><a href="#here">1</a><a href="b.html">2</a><a href="#there">3</a>'
        '<script src="https://x.example/y.js"></script><a href="https://x.example/">4</a>'
    )
    (tmp_path / "a.css").write_text("@import url('//x.example/font.css');")
    assert sorted(broken(tmp_path)) == [
        "a.css loads url('//",
        "a.html loads https://x.example/y.js",
        "a.html: #there",
        "a.html: b.html",
    ]


def test_a_page_that_no_navigation_has_fails_the_build(tmp_path: Path) -> None:
    repository(tmp_path, "# Alone\n")
    with pytest.raises(subprocess.CalledProcessError):
        build(tmp_path / "site", tmp_path / "work", tmp_path)


def repository(root: Path, page: str) -> None:
    """Write a small repository, with one page in docs/ that is in no navigation."""
    (root / "bench").mkdir()
    (root / "docs").mkdir()
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "bench/RESULTS.md"):
        (root / name).write_text("# Page\n")
    (root / "docs" / "site.css").write_text("")
    (root / "docs" / "alone.md").write_text(page)


def test_links_are_turned_to_the_places_of_the_site(tmp_path: Path) -> None:
    (tmp_path / "code.py").parent.mkdir(exist_ok=True)
    repository(tmp_path, "[a](../CHANGELOG.md#x) [b](../code.py)\n```\n[c](../README.md)\n```\n")
    (tmp_path / "code.py").write_text("x = 1\n")
    lay_out(tmp_path, tmp_path / "out")
    assert (tmp_path / "out" / "alone.md").read_text() == (
        "[a](changes.md#x) [b](source/code.py.md)\n```\n[c](../README.md)\n```\n"
    )
    assert "x = 1" in (tmp_path / "out" / "source" / "code.py.md").read_text()
