"""Logins against password files that the real htpasswd wrote."""

# ruff: noqa: ASYNC240 - a test has the loop to itself

import asyncio
import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison.configuration.settings import AccessRule, Htpasswd
from jettison.errors import ConfigurationError
from jettison.model.names import RepoName
from jettison.server.access import (
    AccessAction,
    Guard,
    TooManyLogins,
    Unauthorized,
    Wanted,
    basic,
    make_guard,
)
from jettison.server.access.failed_logins import Guesses
from jettison.server.access.htpasswd import parse_passwords, verify
from tests.support.missing import need

APP = RepoName("team/app")
PULL = [Wanted(APP, (AccessAction.PULL,))]
CHALLENGE = 'Basic realm="a \\"b\\" \\\\ Ã¼"'


def htpasswd(path: Path, user: str, password: str, *options: str) -> None:
    """Set a password with the program that everybody uses."""
    need("htpasswd")
    create = [] if path.exists() else ["-c"]
    command = ["htpasswd", "-b", *(options or ["-B"]), *create, str(path), user, password]
    subprocess.run(command, check=True, capture_output=True)


def header(user: str, password: str | bytes, scheme: str = "Basic") -> str:
    raw = password.encode() if isinstance(password, str) else password
    return f"{scheme} {base64.b64encode(user.encode() + b':' + raw).decode()}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Has the user ann with the password secret."""
    path = tmp_path / "htpasswd"
    htpasswd(path, "ann", "secret")
    return path


def guard_of(path: Path, *rules: AccessRule) -> Guard:
    return make_guard(Htpasswd('a "b" \\ ü', path), rules)


@pytest.fixture
def guard(path: Path) -> Iterator[Guard]:
    guard = guard_of(path)
    yield guard
    guard.close()


async def refused(
    guard: Guard, authorization: str | None, wanted: list[Wanted] = PULL
) -> Unauthorized:
    with pytest.raises(Unauthorized) as caught:
        await guard.admit(authorization, wanted)
    assert caught.value.challenge == CHALLENGE
    return caught.value


async def test_a_login(guard: Guard) -> None:
    grant = await guard.admit(header("ann", "secret"), PULL)
    assert grant.user == "ann"
    assert all(grant.allows(name, action) for name in (APP, None) for action in AccessAction)
    assert await guard.admit(header("ann", "secret"), []) is grant
    await guard.admit(header("ann", "secret", "bAsIc"), PULL)
    await guard.admit(header("ann", "secret", "Basic "), PULL)


@pytest.mark.parametrize(
    "authorization",
    [
        header("ann", "Secret"),
        header("ann", ""),
        header("ann", "secret "),
        header("ann", b"secret\0"),
        header("ann", b"\xff"),
        header("Ann", "secret"),
        header("", "secret"),
        header("ann ", "secret"),
        header("ann:secret", "secret"),
        header("bob", "secret"),
        header("bob", "." * 31),
        header("ann", "secret", "Bearer"),
        header("ann", "secret").replace(" ", ""),
        header("ann", "secret").rstrip("="),
        header("ann", "secret") + "!",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic \xe4",
        "Basic YW5u",
        "Basic //5hbm46c2VjcmV0",
        "\ud800",
        "Basic " + "A" * 1_000_000,
    ],
)
async def test_no_login(guard: Guard, authorization: str) -> None:
    message = (await refused(guard, authorization)).message
    assert "secret" not in message.replace("ann:secret", "")
    assert len(message) < 200


@pytest.mark.parametrize(
    "wanted", [[], [Wanted(None, ())], PULL, [Wanted(None, (AccessAction.PULL,))]]
)
@pytest.mark.parametrize("authorization", [None, "", header("", "")])
async def test_without_a_login(
    guard: Guard, authorization: str | None, wanted: list[Wanted]
) -> None:
    assert (await refused(guard, authorization, wanted)).message == "a login is needed"


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("passwords") / "htpasswd"
    htpasswd(path, "ann", "secret", "-B", "-C", "4")
    return path


@given(st.text(max_size=30), st.binary(max_size=80))
async def test_whatever_is_no_login_is_refused(lasting: Path, text: str, raw: bytes) -> None:
    guard = guard_of(lasting)
    encoded = base64.b64encode(raw).decode()
    for authorization in (text, f"Basic {text}", f"Basic {encoded}", header("ann", raw)):
        with pytest.raises(Unauthorized):
            await guard.admit(authorization, PULL)
    guard.close()


# -- passwords and lines as Distribution takes them ---------------------------------------------


async def test_bcrypt_reads_72_bytes(path: Path) -> None:
    """What htpasswd and Distribution do with long passwords: the rest of them does not count."""
    htpasswd(path, "ann", "ä" * 36 + "rest")
    guard = guard_of(path)
    for password in ("ä" * 36, "ä" * 36 + "rest", "ä" * 36 + "other", "ä" * 5000):
        assert (await guard.admit(header("ann", password), PULL)).user == "ann"
    await refused(guard, header("ann", "ä" * 35))


@pytest.mark.parametrize("mark", ["$2y$", "$2a$", "$2b$"])
@pytest.mark.parametrize("cost", ["4", "7"])
async def test_every_kind_of_bcrypt(path: Path, mark: str, cost: str) -> None:
    htpasswd(path, "ann", "secret", "-B", "-C", cost)
    path.write_text(path.read_text().replace("$2y$", mark))
    guard = guard_of(path)
    assert (await guard.admit(header("ann", "secret"), PULL)).user == "ann"
    await refused(guard, header("ann", "Secret"))


async def test_other_hashes_are_named_and_not_used(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for user, option in (("md", "-m"), ("sha", "-s"), ("plain", "-p"), ("crypt", "-d")):
        htpasswd(path, user, "secret", option)
    guard = guard_of(path)
    for user in ("md", "sha", "plain", "crypt"):
        await refused(guard, header(user, "secret"))
        assert caplog.text.count(f"'{user}' has no bcrypt hash") == 1
    await guard.admit(header("ann", "secret"), PULL)
    htpasswd(path, "more", "secret", "-s")
    await refused(guard, header("more", "secret"))
    assert caplog.text.count("has no bcrypt hash") == 5
    hashes = [line.partition(":")[2] for line in path.read_text().splitlines()]
    assert not any(each in caplog.text for each in hashes)


async def test_lines(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def hashed(password: str) -> str:
        htpasswd(path, "x", password)
        return path.read_text().splitlines()[-1].partition(":")[2]

    first, second = hashed("first"), hashed("second")
    path.write_bytes(
        f"# bob:{first}\n\n  ann:{first}  \r\nann:{second}\nno colon\n:{first}\ncut:{first[:-1]}\n"
        f"long:{first}x\nmore:{first}:and more\n".encode()
        + b"\xff:"
        + first.encode()
    )
    guard = guard_of(path)
    await guard.admit(header("ann", "second"), PULL)
    await guard.admit(header("more", "first"), PULL)
    for user in ("ann", "bob", "# bob", "cut", "long", "\xff", ""):
        await refused(guard, header(user, "first"))
    for number in (5, 6, 10):
        assert f"line {number} is no user and hash" in caplog.text
    assert first not in caplog.text


def test_a_hash_that_cannot_be() -> None:
    assert not verify(b"x", b"$2b$05$" + b"a" * 53)


@given(st.binary(max_size=200) | st.text("$2aby05:\n#./A ", max_size=200).map(str.encode))
def test_any_file_can_be_read(raw: bytes) -> None:
    found = parse_passwords(raw)
    assert not found.hashes.keys() & set(found.other)
    assert not any(verify(b"", one) for one in found.absent[:3])


async def test_an_empty_file_admits_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "empty"
    path.touch()
    guard = guard_of(path)
    await refused(guard, header("ann", "secret"))
    assert "nobody who could log in" in caplog.text


# -- the file changes --------------------------------------------------------------------------


async def test_changes_count_at_once(guard: Guard, path: Path) -> None:
    """Also several within one tick of the file system's clock, of one size."""
    for number in range(5):
        for password in (f"one{number}", f"two{number}"):
            htpasswd(path, "ann", password)
            await guard.admit(header("ann", password), PULL)
            await refused(guard, header("ann", "secret"))
        await refused(guard, header("ann", f"one{number}"))
    path.write_text("")
    await refused(guard, header("ann", "two4"))


async def test_an_older_file_in_its_place_counts(guard: Guard, path: Path) -> None:
    """Of the same size and time, as a restored backup may be."""
    status = path.stat()
    await guard.admit(header("ann", "secret"), PULL)
    htpasswd(path, "ann", "changed")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    await refused(guard, header("ann", "secret"))
    await guard.admit(header("ann", "changed"), PULL)


async def test_a_change_of_somebody_else_makes_no_difference(guard: Guard, path: Path) -> None:
    await guard.admit(header("ann", "secret"), PULL)
    htpasswd(path, "bob", "secret")
    await guard.admit(header("ann", "secret"), PULL)
    await guard.admit(header("bob", "secret"), PULL)


async def test_a_file_that_is_gone_admits_nobody(
    guard: Guard, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    aside = path.with_name("aside")
    for _ in range(2):
        await guard.admit(header("ann", "secret"), PULL)
        path.rename(aside)
        for _ in range(2):
            message = (await refused(guard, header("ann", "secret"))).message
            assert message == "logins cannot be checked at the moment"
        path.mkdir()
        await refused(guard, header("ann", "secret"))
        path.rmdir()
        os.mkfifo(path)
        await refused(guard, header("ann", "secret"))
        path.unlink()
        path.symlink_to(path)
        await refused(guard, header("ann", "secret"))
        path.unlink()
        aside.rename(path)
    assert (await guard.admit(header("ann", "secret"), PULL)).user == "ann"
    assert caplog.text.count("No such file") == 2
    assert caplog.text.count("is not a regular file") == 2


async def test_a_read_error_admits_nobody(
    guard: Guard, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mode of the file counts, although its time and size are the same."""
    await guard.admit(header("ann", "secret"), PULL)
    await asyncio.sleep(0.15)
    await guard.admit(header("ann", "secret"), PULL)

    def fails(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    path.chmod(0o200)
    monkeypatch.setattr("jettison.server.access.reloaded_file._nonblocking", fails)
    await refused(guard, header("ann", "secret"))
    monkeypatch.undo()
    await guard.admit(header("ann", "secret"), PULL)


@pytest.mark.parametrize("what", ["absent", "folder"])
def test_a_file_that_is_not_there_at_the_start(tmp_path: Path, what: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigurationError, match=f"{what} cannot be used") as caught:
        guard_of(tmp_path / what)
    assert "htpasswd -B -c" in (caught.value.hint or "")


# -- load --------------------------------------------------------------------------------------


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The hash of each comparison that was really made."""
    seen: list[bytes] = []

    def counted(password: bytes, expected: bytes) -> bool:
        seen.append(expected)
        return verify(password, expected)

    monkeypatch.setattr(basic, "verify", counted)
    return seen


async def test_a_login_is_hashed_once(guard: Guard, hashed: list[bytes]) -> None:
    both = [guard.admit(header("ann", "secret"), PULL) for _ in range(50)]
    assert len({id(grant) for grant in await asyncio.gather(*both)}) <= basic.THREADS
    assert len(hashed) <= basic.THREADS
    before = len(hashed)
    await guard.admit(header("ann", "secret"), PULL)
    assert len(hashed) == before
    await refused(guard, header("ann", "wrong"))
    await refused(guard, header("ann", "wrong"))
    assert len(hashed) == before + 2


async def test_a_failed_login_is_the_same_work_for_whomever(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path has a user of cost 5; and somebody may have set one of a cost that is no use."""
    for user, cost in (("low", "4"), ("same", "5"), ("high", "7")):
        htpasswd(path, user, "secret", "-B", "-C", cost)
    steps = 0

    def compared(_password: bytes, expected: bytes) -> bool:
        nonlocal steps
        steps += 2 ** int(expected[4:6])
        return False

    def hashed(_password: bytes, salt: bytes) -> bytes:
        assert len(salt) == 29
        compared(b"", salt)
        return b""

    guard = guard_of(path)
    monkeypatch.setattr(bcrypt, "checkpw", compared)
    monkeypatch.setattr(bcrypt, "hashpw", hashed)
    for user in ("low", "same", "high", "ann", *(f"unknown{number}" for number in range(20))):
        steps = 0
        await refused(guard, header(user, "wrong"))
        assert steps == 2**7, user


async def test_unknown_users_are_compared_as_those_of_the_file_are(path: Path) -> None:
    htpasswd(path, "high", "secret", "-B", "-C", "7")
    found = parse_passwords(path.read_bytes())
    names = [f"unknown{number}" for number in range(100)]
    once = [found.compared(name, b"k") for name in names]
    assert {one[4:6] for one in once} == {b"05", b"07"}
    assert once == [found.compared(name, b"k") for name in names]
    assert once != [found.compared(name, b"other") for name in names]


async def test_a_cost_that_would_stop_everybody_is_named(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with path.open("a") as file:
        file.write(f"slow:$2y$31${'a' * 53}\n")
    guard = guard_of(path)
    assert "'slow' has a hash of a cost above 14" in caplog.text
    await refused(guard, header("ann", "wrong"))  # it does not take a day


async def test_who_guesses_has_to_wait_and_others_have_not(guard: Guard) -> None:
    async def guess(password: str, client: str) -> str:
        try:
            await guard.admit(header("ann", password), PULL, client=client)
        except TooManyLogins as error:
            return "wait" if error.seconds >= 1 else "wait no longer"
        except Unauthorized:
            return "wrong"
        return "right"

    found = [await guess(f"{number}", "192.0.2.1") for number in range(15)]
    assert found == ["wrong"] * 10 + ["wait"] * 5
    assert await guess("secret", "192.0.2.1") == "wait"  # or the waiting would be no use
    assert await guess("wrong", "192.0.2.2") == "wrong"
    assert await guess("secret", "192.0.2.2") == "right"
    assert await guess("secret", "192.0.2.1") == "right"  # it is known by now
    assert [await guess(f"{number}", "192.0.2.1") for number in range(3)] == ["wait"] * 3


def test_guesses_come_back_with_time() -> None:
    now = 0.0
    guesses = Guesses(lambda: now)
    assert [guesses.take("a", "u") for _ in range(11)] == [0.0] * 10 + [6.0]
    assert guesses.take("a", "other") == 0.0
    guesses.give("a", "u")
    assert [guesses.take("a", "u") for _ in range(11)] == [0.0] * 10 + [6.0]
    now = 6.0
    assert guesses.take("a", "u") == 0.0
    assert guesses.take("a", "u") > 0
    spread = [guesses.take("b", f"{number}") for number in range(150)]
    assert spread.count(0.0) == 100
    for number in range(10_000):
        guesses.take(f"{number}", "u")
    assert len(guesses._left) <= 8192


async def test_the_loop_goes_on_while_passwords_are_hashed(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is known already is served at once, however many wrong logins there are."""
    ann = header("ann", "secret")
    await guard.admit(ann, PULL)
    gate = threading.Event()
    at_a_time, peak = 0, 0
    lock = threading.Lock()

    def slow(_password: bytes, _expected: bytes) -> bool:
        nonlocal at_a_time, peak
        with lock:
            at_a_time += 1
            peak = max(peak, at_a_time)
        gate.wait(1)
        with lock:
            at_a_time -= 1
        return False

    monkeypatch.setattr(basic, "verify", slow)

    async def wrong(number: int, client: str) -> object:
        # Each user once, or the client would have to wait for having been wrong.
        return await guard.admit(header(f"user{number}", "x"), PULL, client=client)

    waiting = [
        asyncio.ensure_future(wrong(number, f"192.0.2.{client}"))
        for client in range(basic.WAITING_ALL // basic.WAITING)
        for number in range(basic.WAITING)
    ]
    waiting += [
        asyncio.ensure_future(wrong(basic.WAITING + number, "192.0.2.0"))
        for number in range(basic.THREADS)
    ]
    await asyncio.sleep(0.01)
    assert (await guard.admit(ann, PULL)).user == "ann"
    for client in ("192.0.2.0", "192.0.2.99"):
        with pytest.raises(TooManyLogins) as caught:
            await asyncio.wait_for(wrong(-1, client), 5)
        assert caught.value.challenge == CHALLENGE
    gate.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(each, Unauthorized) for each in found)
    assert 1 <= peak <= basic.THREADS
    assert vars(guard)["_turns"].waiting == 0
    assert not vars(guard)["_checking"]


async def test_a_login_that_overtakes_a_change_is_not_remembered(
    guard: Guard, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, gate = threading.Event(), threading.Event()

    def slow(password: bytes, expected: bytes) -> bool:
        started.set()
        gate.wait(10)
        return verify(password, expected)

    monkeypatch.setattr(basic, "verify", slow)
    going = asyncio.ensure_future(guard.admit(header("ann", "secret"), PULL))
    await asyncio.to_thread(started.wait, 10)
    htpasswd(path, "ann", "changed")
    with pytest.raises(Unauthorized):
        await guard.admit("Basic", PULL)
    gate.set()
    await going
    await refused(guard, header("ann", "secret"))


async def test_no_password_is_kept(guard: Guard) -> None:
    authorization = header("ann", "secret")
    await guard.admit(authorization, PULL)
    assert list(vars(guard)["_remembered"]) == ["ann"]
    shown = repr(guard.__dict__)
    assert "secret" not in shown
    assert authorization.partition(" ")[2] not in shown


async def test_however_a_login_is_written_it_takes_one_place(path: Path) -> None:
    """What is written anew each time would put out the logins of all others."""
    long = "p" * 72
    htpasswd(path, "long", long)
    htpasswd(path, "other", "secret")
    guard = guard_of(path)
    await guard.admit(header("other", "secret"), PULL)
    for written in (
        *(header("long", long), header("long", long, "basic"), header("long", long, "Basic ")),
        *(header("long", f"{long}{number}") for number in range(20)),
    ):
        assert (await guard.admit(written, PULL)).user == "long"
    assert sorted(vars(guard)["_remembered"]) == ["long", "other"]


# -- rules -------------------------------------------------------------------------------------


EVERYBODY = AccessRule(("*",), ("team/*",), frozenset({"pull"}))
PUBLIC = AccessRule(("anonymous",), ("public/*",), frozenset({"pull"}))
ANN = AccessRule(("a*",), ("*",), frozenset({"pull", "push", "overwrite", "delete", "admin"}))


@pytest.mark.parametrize("authorization", [None, header("", "")])
async def test_anonymous_is_admitted_where_a_rule_says_so(
    path: Path, authorization: str | None
) -> None:
    guard = guard_of(path, EVERYBODY, PUBLIC)
    public = RepoName("public/app")
    grant = await guard.admit(authorization, [Wanted(public, (AccessAction.PULL,))])
    assert grant.user == ""
    assert grant.allows(public, AccessAction.PULL)
    assert not grant.allows(public, AccessAction.PUSH)
    assert not grant.allows(APP, AccessAction.PULL)
    assert grant.sees(public)
    assert not grant.sees(APP)
    await guard.admit(authorization, [Wanted(None, (AccessAction.PULL,))])
    for wanted in (
        [],
        [Wanted(None, ())],
        [Wanted(None, (AccessAction.ADMIN,))],
        PULL,
        [Wanted(public, (AccessAction.PULL, AccessAction.PUSH))],
        [Wanted(public, (AccessAction.PULL,)), *PULL],
    ):
        await refused(guard, authorization, wanted)


@pytest.mark.parametrize("rules", [(), (EVERYBODY,), (EVERYBODY, ANN)])
async def test_everybody_is_everybody_with_a_login(
    path: Path, rules: tuple[AccessRule, ...]
) -> None:
    await refused(guard_of(path, *rules), None)


async def test_a_wrong_login_is_not_anonymous(path: Path) -> None:
    guard = guard_of(path, PUBLIC)
    wanted = [Wanted(RepoName("public/app"), (AccessAction.PULL,))]
    await guard.admit(None, wanted)
    await refused(guard, header("ann", "wrong"), wanted)
    await refused(guard, "Bearer x", wanted)
    path.unlink()
    await refused(guard, header("ann", "secret"), wanted)
    await guard.admit(None, wanted)


async def test_a_login_gets_what_its_rules_allow(path: Path) -> None:
    htpasswd(path, "bob", "secret")
    guard = guard_of(path, EVERYBODY, PUBLIC, ANN)
    wanted = [Wanted(APP, (AccessAction.PULL, AccessAction.PUSH))]
    ann = await guard.admit(header("ann", "secret"), wanted)
    assert all(ann.allows(name, action) for name in (APP, "x", None) for action in AccessAction)
    bob = await guard.admit(header("bob", "secret"), wanted)
    assert [
        name for name in ("team/app", "public/app", "x") if bob.allows(name, AccessAction.PULL)
    ] == [*("team/app", "public/app")]
    assert not bob.allows(APP, AccessAction.PUSH)
    assert not bob.sees_all


async def test_a_user_named_anonymous(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    htpasswd(path, "anonymous", "secret")
    guard = guard_of(path, PUBLIC)
    assert "'anonymous' in a rule means everybody" in caplog.text
    grant = await guard.admit(header("anonymous", "secret"), PULL)
    assert not grant.allows(APP, AccessAction.PULL)
