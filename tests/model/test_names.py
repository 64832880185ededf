import pytest

from jettison.errors import InvalidName, InvalidReference
from jettison.model.digest import Digest
from jettison.model.names import Location, Reference, RepoName, Tag, matches_glob

DIGEST = Digest("sha256:" + "0" * 64)
REFERENCES = "References are HOST/REPO:TAG, HOST/REPO:GLOB or HOST/REPO@DIGEST."
NAMES = "Lower-case letters, digits and separators . _ - between them, parts joined by /."


@pytest.mark.parametrize(
    "text", ["a", "0", "a/b", "a.b", "a_b", "a__b", "a-b", "a---b", "a1/b2/c3", "a" * 255]
)
def test_repository_names(text: str) -> None:
    assert RepoName(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "/", "a/", "/a", "a//b", "A", "a..b", "a___b", "-a", "a-", "_a", "a_", ".a", "a.", "a._b",
     "a b", "a:b", "a@b", "é", "a\n", "a/../b", "..", "_manifests", "a/_layers", "a" * 256],
)  # fmt: skip
def test_what_is_no_repository_name(text: str) -> None:
    with pytest.raises(InvalidName) as raised:
        RepoName(text)
    assert raised.value.message == f"invalid repository name {text!r}"
    assert raised.value.hint == NAMES


@pytest.mark.parametrize("text", ["a", "_", "1.2", "A-b_C.d", "0" * 128, "sha256-abc.sig"])
def test_tags(text: str) -> None:
    assert Tag(text) == text


@pytest.mark.parametrize(
    "text", ["", ".a", "-a", "a/b", "a:b", "a b", "a*", "é", "a\n", "../a", "0" * 129]
)
def test_what_is_no_tag(text: str) -> None:
    with pytest.raises(InvalidName) as raised:
        Tag(text)
    assert raised.value.message == f"invalid tag {text!r}"
    assert raised.value.hint


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("h:5000/a", Reference("h:5000", RepoName("a"))),
        ("h:5000/a:1", Reference("h:5000", RepoName("a"), Tag("1"))),
        ("r.example/a/b/c:v1", Reference("r.example", RepoName("a/b/c"), Tag("v1"))),
        ("localhost/a:1", Reference("localhost", RepoName("a"), Tag("1"))),
        ("127.0.0.1:5000/a:1", Reference("127.0.0.1:5000", RepoName("a"), Tag("1"))),
        ("[::1]:5000/a:1", Reference("[::1]:5000", RepoName("a"), Tag("1"))),
        ("h:5000/a:pr-*", Reference("h:5000", RepoName("a"), glob="pr-*")),
        ("h:5000/a:*", Reference("h:5000", RepoName("a"), glob="*")),
        ("h:5000/a:v?.[0-9]", Reference("h:5000", RepoName("a"), glob="v?.[0-9]")),
        (f"h:5000/a@{DIGEST}", Reference("h:5000", RepoName("a"), digest=DIGEST)),
    ],
)
def test_references(text: str, expected: Reference) -> None:
    reference = Reference.parse(text)
    assert reference == expected
    assert str(reference) == text


# What is typed, what is underlined, why, and the next step. The underline is the golden text.
BAD = [
    ("", "^", "invalid registry host", REFERENCES),
    ("/a:1", "^", "invalid registry host", REFERENCES),
    ("app", "^^^", "no registry host here",
     "Name the registry too, for example localhost:5000/app."),
    ("team/app:1", "^^^^", "no registry host here",
     "Name the registry too, for example localhost:5000/team/app:1."),
    ("app:1", "^^^^^", "a reference needs a host and a repository", REFERENCES),
    ("h:5000", "^^^^^^", "a reference needs a host and a repository", REFERENCES),
    ("h:5000/", "^^^^^^^", "a reference needs a host and a repository", REFERENCES),
    ("http://h:5000/a:1", "^^^^^^^", "a reference has no scheme",
     "Write h:5000/a:1; for a registry without TLS add --plain-http."),
    ("https://h.io/a", "^^^^^^^^", "a reference has no scheme", "Write h.io/a."),
    ("https://", "^^^^^^^^", "a reference has no scheme", "Write HOST."),
    ("h_x.io/a:1", " ^", "invalid registry host", REFERENCES),
    ("h.io /a:1", "    ^", "invalid registry host", REFERENCES),
    ("-h.io/a:1", "^^^^^", "invalid registry host", REFERENCES),
    ("h:/a:1", "^^", "invalid registry host", REFERENCES),
    ("h:5000/:1", "      ^", "the repository's name is missing", REFERENCES),
    ("h:5000/App:1", "       ^", "invalid repository name", NAMES),
    ("h:5000/team/App:1", "            ^", "invalid repository name", NAMES),
    ("h:5000/a//b:1", "        ^", "invalid repository name", NAMES),
    ("h:5000/a/:1", "        ^", "invalid repository name", NAMES),
    ("h:5000/a..b:1", "        ^", "invalid repository name", NAMES),
    ("h:5000/a b:1", "        ^", "invalid repository name", NAMES),
    ("h:5000/-a:1", "       ^", "invalid repository name", NAMES),
    ("h:5000/" + "a" * 256, " " * 7 + "^" * 256, "repository names have 255 characters at most",
     REFERENCES),
    ("h:5000/a:", "        ^",
     "invalid tag: at most 128 letters, digits, _ . and -, not starting with . or -", REFERENCES),
    ("h:5000/a:-x", "         ^^",
     "invalid tag: at most 128 letters, digits, _ . and -, not starting with . or -", REFERENCES),
    ("h:5000/a:1:2", "         ^^^",
     "invalid tag: at most 128 letters, digits, _ . and -, not starting with . or -", REFERENCES),
    ("h:5000/a:*é", "         ^^",
     "invalid tag: at most 128 letters, digits, _ . and -, not starting with . or -", REFERENCES),
    ("h:5000/a:1@sha256:12", "        ^^^^^^^^^^^^",
     "a tag and a digest together are ambiguous; give one", REFERENCES),
    ("h:5000/a@", "         ^", "invalid digest '': there is no algorithm before the hex",
     REFERENCES),
    ("h:5000/a@latest", "         ^^^^^^",
     "invalid digest 'latest': there is no algorithm before the hex", REFERENCES),
    ("h:5000/a@sha256:12", "         ^^^^^^^^^",
     "invalid digest 'sha256:12': 2 hex digits instead of 64", REFERENCES),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("docker://h:5000/a:1", "h:5000/a:1"),
        ("oci://h.io/charts/a:1.0", "h.io/charts/a:1.0"),
        ("docker://h:5000/a:*", "h:5000/a:*"),
        ("docker.io/nginx:1", "docker.io/library/nginx:1"),
        ("index.docker.io/me/app:1", "index.docker.io/me/app:1"),
        ("[::1]:5000/a:1", "[::1]:5000/a:1"),
        ("registry.localhost/a:1", "registry.localhost/a:1"),
    ],
)
def test_what_other_programs_write(text: str, expected: str) -> None:
    assert str(Reference.parse(text)) == expected
    assert str(Location.parse(text.rpartition(":")[0])) == expected.rpartition(":")[0]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("h:5000/a:1.0+build", "No tag has a + in it; Helm and others write _ there: 1.0_build"),
        ("h:5000/a:*+*", "No tag has a + in it; Helm and others write _ there: *_*"),
        ("::1/a:1", "An IPv6 address is written in brackets: [::1]:5000/REPO:TAG."),
        ("docker://https://h.io/a", "Write h.io/a."),
    ],
)
def test_what_is_meant_is_said(text: str, hint: str) -> None:
    with pytest.raises(InvalidReference) as raised:
        Reference.parse(text)
    assert raised.value.hint == hint


@pytest.mark.parametrize(
    ("text", "carets", "reason", "hint"), BAD, ids=[repr(case[0])[:30] for case in BAD]
)
def test_what_is_no_reference(text: str, carets: str, reason: str, hint: str) -> None:
    with pytest.raises(InvalidReference) as raised:
        Reference.parse(text)
    assert raised.value.message == f"{reason}\n{text}\n{carets}"
    assert raised.value.hint == hint
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "shown", "carets"),
    [
        ("me:secret@h:5000/a:1", "***@h:5000/a:1", "^^^^"),
        ("https://me:secret@h:5000/a:1", "https://***@h:5000/a:1", "        ^^^^"),
        ("http://me:sec@ret@h.io", "http://***@h.io", "       ^^^^"),
        (f"secret@h:5000/a@{DIGEST}", f"***@h:5000/a@{DIGEST}", "^^^^"),
    ],
)
def test_a_login_is_not_repeated(text: str, shown: str, carets: str) -> None:
    for parse in (Reference.parse, Location.parse):
        with pytest.raises(InvalidReference) as raised:
            parse(text)
        assert raised.value.message == f"a reference carries no login\n{shown}\n{carets}"
        assert "jettison login" in (raised.value.hint or "")
        assert "sec" not in f"{raised.value}{raised.value.hint}"


@pytest.mark.parametrize("text", [f"app@{DIGEST}", f"app:1@{DIGEST}", f"team/app@{DIGEST}"])
def test_a_digest_without_a_host_is_no_login(text: str) -> None:
    with pytest.raises(InvalidReference, match="host"):
        Reference.parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("h:5000", Location("h:5000")),
        ("registry.example", Location("registry.example")),
        ("localhost", Location("localhost")),
        ("h:5000/a/b", Location("h:5000", RepoName("a/b"))),
    ],
)
def test_locations(text: str, expected: Location) -> None:
    location = Location.parse(text)
    assert location == expected
    assert str(location) == text


@pytest.mark.parametrize(
    ("text", "carets", "reason"),
    [
        ("h", "^", "no registry host here"),
        ("h:5000/", "      ^", "the repository's name is missing"),
        ("h:5000/a:1", "        ^", "invalid repository name"),
        (f"h:5000/a@{DIGEST}", "        ^", "invalid repository name"),
    ],
)
def test_what_is_no_location(text: str, carets: str, reason: str) -> None:
    with pytest.raises(InvalidReference) as raised:
        Location.parse(text)
    assert raised.value.message == f"{reason}\n{text}\n{carets}"


@pytest.mark.parametrize(
    ("text", "pattern", "expected"),
    [
        ("v1", "v1", True),
        ("v1", "V1", False),
        ("v12", "v*", True),
        ("v1", "v?", True),
        ("v12", "v?", False),
        ("v1", "v[0-9]", True),
        ("vx", "v[!0-9]", True),
        ("v1", "*", True),
        ("v.1", "v*1", True),
        ("pr-1", "r-*", False),
    ],
)
def test_globs(text: str, pattern: str, expected: bool) -> None:
    assert matches_glob(text, pattern) is expected
