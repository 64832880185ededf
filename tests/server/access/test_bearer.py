"""Tokens: good ones, and every kind of bad one."""

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from jettison.configuration.settings import AccessRule, Token
from jettison.errors import ConfigurationError
from jettison.model.names import RepoName
from jettison.server.access import (
    AccessAction,
    Grant,
    Guard,
    Unauthorized,
    Wanted,
    chains,
    make_guard,
)
from jettison.server.access.bearer import TokenGuard
from jettison.server.access.keys import key_names
from tests.server.access.signing import (
    ISSUER,
    SERVICE,
    Signer,
    access,
    bundle,
    certificate,
    claims,
    key_set,
    make_key,
    part,
    signer,
    slow_key,
    token,
    x5c,
)

APP = RepoName("team/app")
PULL = [Wanted(APP, (AccessAction.PULL,))]
REALM = "https://tokens.test/auth"
KINDS = ["rsa", "p256", "p384", "p521", "ed25519"]


def settings(**changed: Any) -> Token:
    return Token(**{"realm": REALM, "service": SERVICE, "issuer": ISSUER, **changed})


@pytest.fixture
def guard(tmp_path: Path) -> Guard:
    """Trusts one key of each kind by its certificate."""
    path = bundle(tmp_path / "bundle.pem", *map(signer, KINDS))
    return make_guard(settings(rootcertbundle=path), ())


async def admitted(guard: Guard, text: str, wanted: list[Wanted] = PULL) -> Grant:
    return await guard.admit(f"Bearer {text}", wanted)


async def refused(guard: Guard, text: str, wanted: list[Wanted] = PULL) -> Unauthorized:
    with pytest.raises(Unauthorized) as caught:
        await admitted(guard, text, wanted)
    return caught.value


async def untrusted(guard: Guard, text: str) -> str:
    """Why a token is refused, after it is clear that it is not believed."""
    error = await refused(guard, text)
    assert error.challenge.endswith(',error="invalid_token"')
    await refused(guard, text, [])
    return error.message


# -- good ones ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_of_each_kind(guard: Guard, kind: str) -> None:
    grant = await admitted(guard, token(signer(kind)))
    assert grant.user == "bob"
    assert grant.allows("team/app", AccessAction.PULL)
    others = [
        ("team/app", AccessAction.PUSH),
        ("team/app", AccessAction.DELETE),
        ("team", AccessAction.PULL),
    ]
    assert not any(grant.allows(*each) for each in [*others, (None, AccessAction.PULL)])
    assert grant.sees("team/app")
    assert not grant.sees("team")
    assert not grant.sees_all


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
async def test_every_signature_of_rsa(guard: Guard, algorithm: str) -> None:
    await admitted(guard, token(signer("rsa"), algorithm=algorithm))


@pytest.mark.parametrize("kind", KINDS)
async def test_every_name_of_a_key(guard: Guard, kind: str) -> None:
    by = signer(kind)
    names = key_names(by.key.public_key())
    assert by.kid == names[0]
    for name in names:
        await admitted(guard, token(by, kid=name))


async def test_two_keys_may_have_one_name(tmp_path: Path) -> None:
    """3.x gives all keys of a curve the same."""
    first, second = signer("p256"), signer("p256", "second")
    guard = make_guard(settings(rootcertbundle=bundle(tmp_path / "b.pem", first, second)), ())
    shared = set(key_names(first.key.public_key())) & set(key_names(second.key.public_key()))
    [name] = shared
    for by in (first, second):
        await admitted(guard, token(by, kid=name))
    assert await untrusted(guard, token(signer("p256", "third"), kid=name))


@pytest.mark.parametrize("kind", ["rsa", "p256", "p521", "ed25519"])
@pytest.mark.parametrize("kid", ["any name", None])
async def test_keys_of_a_key_set(tmp_path: Path, kind: str, kid: str | None) -> None:
    by = signer(kind)
    jwk = by.jwk if kid is None else {**by.jwk, "kid": kid, "use": "sig", "alg": by.algorithm}
    guard = make_guard(settings(jwks=key_set(tmp_path / "jwks", jwk)), ())
    await admitted(guard, token(by, kid=kid or key_names(by.key.public_key())[1]))


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": ["else", SERVICE]},
        {"nbf": None},
        {"iat": None, "jti": None},
        {"exp": lambda now: now - 30},
        {"exp": lambda now: now + 1.5},
        {"nbf": lambda now: now + 30},
        {"iat": lambda now: now + 9000},
        {"more": {"deep": [[[]]]}},
    ],
)
async def test_claims_that_are_good(guard: Guard, changed: dict[str, Any]) -> None:
    await admitted(guard, token(signer("rsa"), claims(**changed)))


@pytest.mark.parametrize("sub", ["", None])
async def test_a_token_for_nobody_in_particular(guard: Guard, sub: str | None) -> None:
    assert (await admitted(guard, token(signer("rsa"), claims(sub=sub)))).user == ""


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_in_any_case(guard: Guard, scheme: str) -> None:
    await guard.admit(f"{scheme} {token(signer('rsa'))}", PULL)


async def test_the_base_needs_no_scope(guard: Guard) -> None:
    text = token(signer("rsa"), claims(access=None))
    await admitted(guard, text, [])
    await admitted(guard, text, [Wanted(None, ())])


# -- scopes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entries", "allowed"),
    [
        (
            ["repository:team/app:pull,push"],
            {AccessAction.PULL, AccessAction.PUSH, AccessAction.OVERWRITE},
        ),
        (["repository:team/app:overwrite"], set()),
        (
            ["repository:team/app:pull", "repository:team/app:delete"],
            {AccessAction.PULL, AccessAction.DELETE},
        ),
        (["repository:team/app:*"], set(AccessAction)),
        (["repository:team/app:admin"], set()),
        (["repository:team/*:*"], set()),
        (["repository:*:*"], set()),
        (["repository(plugin):team/app:*"], set()),
        (["registry:team/app:*"], set()),
        (["repository:team:pull", "repository:team/app2:pull"], set()),
    ],
)
async def test_what_a_scope_allows(
    guard: Guard, entries: list[str], allowed: set[AccessAction]
) -> None:
    text = token(signer("rsa"), claims(access=access(*entries)))
    for action in AccessAction:
        if action in allowed:
            assert (await admitted(guard, text, [Wanted(APP, (action,))])).allows(APP, action)
        else:
            error = await refused(guard, text, [Wanted(APP, (action,))])
            wish = {AccessAction.ADMIN: "*", AccessAction.OVERWRITE: "push"}.get(action, action)
            assert error.challenge == (
                f'Bearer realm="{REALM}",service="{SERVICE}",'
                f'scope="repository:team/app:{wish}",error="insufficient_scope"'
            )
    grant = await admitted(guard, text, [])
    assert {action for action in AccessAction if grant.allows(APP, action)} == allowed


@pytest.mark.parametrize("actions", ["*", "pull,*"])
async def test_the_catalog(guard: Guard, actions: str) -> None:
    text = token(signer("rsa"), claims(access=access(f"registry:catalog:{actions}")))
    for action in (AccessAction.PULL, AccessAction.ADMIN):
        grant = await admitted(guard, text, [Wanted(None, (action,))])
        assert grant.allows(None, action)
    assert grant.sees_all
    assert grant.sees("any")
    assert not grant.allows("any", AccessAction.PULL)


@pytest.mark.parametrize("entry", ["registry:catalog:pull", "repository:catalog:*"])
async def test_not_the_catalog(guard: Guard, entry: str) -> None:
    text = token(signer("rsa"), claims(access=access(entry)))
    error = await refused(guard, text, [Wanted(None, (AccessAction.PULL,))])
    assert 'scope="registry:catalog:*",error="insufficient_scope"' in error.challenge


async def test_a_mount_needs_both(guard: Guard) -> None:
    wanted = [
        Wanted(APP, (AccessAction.PULL, AccessAction.PUSH)),
        Wanted(RepoName("other"), (AccessAction.PULL,)),
    ]
    scopes = ["repository:team/app:pull,push", "repository:other:pull"]
    error = await refused(guard, token(signer("rsa"), claims(access=access(scopes[0]))), wanted)
    assert f'scope="{" ".join(scopes)}"' in error.challenge
    await admitted(guard, token(signer("rsa"), claims(access=access(*scopes))), wanted)


async def test_rules_narrow_what_a_token_allows(tmp_path: Path) -> None:
    rules = [
        AccessRule(("bob",), ("team/*",), frozenset({"pull"})),
        AccessRule(("ann",), ("*",), frozenset({"pull", "push", "overwrite", "delete", "admin"})),
    ]
    config = settings(rootcertbundle=bundle(tmp_path / "b.pem", signer("rsa")))
    guard = make_guard(config, rules)
    scopes = access("repository:team/app:*", "repository:other:*", "registry:catalog:*")
    bob = await admitted(guard, token(signer("rsa"), claims(access=scopes)))
    assert bob.allows("team/app", AccessAction.PULL)
    assert not bob.allows("team/app", AccessAction.PUSH)
    assert not bob.allows("other", AccessAction.PULL)
    assert bob.allows(None, AccessAction.PULL)
    assert not bob.sees_all
    assert [bob.sees(name) for name in ("team/app", "team/new", "other")] == [True, True, False]
    ann = await admitted(guard, token(signer("rsa"), claims(access=scopes, sub="ann")))
    assert ann.allows("other", AccessAction.DELETE)
    assert not ann.allows("more", AccessAction.DELETE)
    assert ann.sees_all
    nobody = await admitted(guard, token(signer("rsa"), claims(sub="")))
    assert not nobody.allows("team/app", AccessAction.PULL)


# -- no token ----------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic Ym9iOng=", "x y z"])
async def test_no_token(guard: Guard, header: str | None) -> None:
    with pytest.raises(Unauthorized) as caught:
        await guard.admit(header, [Wanted(APP, (AccessAction.PULL, AccessAction.PUSH))])
    assert caught.value.challenge == (
        f'Bearer realm="{REALM}",service="{SERVICE}",scope="repository:team/app:pull,push"'
    )
    with pytest.raises(Unauthorized) as caught:
        await guard.admit(header, [])
    assert caught.value.challenge == f'Bearer realm="{REALM}",service="{SERVICE}"'


@pytest.mark.parametrize(
    ("origin", "realm"),
    [
        ("https://here.test:5000", "https://here.test:5000/auth/token"),
        ("http://[::1]:5000", "http://[::1]:5000/auth/token"),
        ("", REALM),
        ('https://here.test",realm="x', REALM),
        ("https://here.test/\r\nA: b", REALM),
        ("javascript:alert(1)", REALM),
    ],
)
async def test_autoredirect(tmp_path: Path, origin: str, realm: str) -> None:
    path = bundle(tmp_path / "b.pem", signer("rsa"))
    for on in (True, False):
        config = settings(rootcertbundle=path, autoredirect=on, autoredirect_path="/auth/token")
        guard = make_guard(config, ())
        with pytest.raises(Unauthorized) as caught:
            await guard.admit(None, [], origin=origin)
        expected = realm if on else REALM
        assert caught.value.challenge == f'Bearer realm="{expected}",service="{SERVICE}"'


# -- bad ones ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"iss": "else"}, "another issuer"),
        ({"iss": None}, "another issuer"),
        ({"aud": "else"}, "another service"),
        ({"aud": SERVICE + "x"}, "another service"),
        ({"aud": ["else"]}, "another service"),
        ({"aud": []}, "another service"),
        ({"aud": None}, "another service"),
        ({"aud": {SERVICE: 1}}, "malformed"),
        ({"exp": lambda now: now - 90}, "expired"),
        ({"exp": 0}, "expired"),
        ({"exp": -(10**300)}, "expired"),
        ({"exp": None}, "malformed"),
        ({"exp": "9999999999"}, "malformed"),
        ({"exp": True}, "malformed"),
        ({"exp": 10**400}, "malformed"),
        ({"nbf": lambda now: now + 300}, "not valid yet"),
        ({"nbf": "0"}, "malformed"),
        ({"access": "repository:team/app:pull"}, "malformed"),
        ({"access": [None]}, "malformed"),
        ({"access": [{"type": "repository", "name": "team/app", "actions": "pull"}]}, "malformed"),
    ],
)
async def test_claims_that_are_bad(guard: Guard, changed: dict[str, Any], reason: str) -> None:
    by = signer("rsa")
    content = json.dumps(claims(**changed)).encode()
    text = jwt.PyJWS().encode(content, by.key, algorithm="RS256", headers={"kid": by.kid})
    assert reason in await untrusted(guard, text)


def unsigned(header: dict[str, Any], signature: bytes = b"x") -> str:
    return f"{part(header)}.{part(claims())}.{part(signature)}"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", ""])
@pytest.mark.parametrize("signature", [b"", b"x"])
async def test_no_signature(guard: Guard, algorithm: str, signature: bytes) -> None:
    text = unsigned({"typ": "JWT", "alg": algorithm, "kid": signer("rsa").kid}, signature)
    assert await untrusted(guard, text)


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("kind", ["rsa", "p256", "ed25519"])
async def test_a_public_key_is_no_secret(guard: Guard, algorithm: str, kind: str) -> None:
    """The public key as the secret of an HMAC, in each form that somebody may have it in."""
    by = signer(kind)
    public = by.key.public_key()
    secrets = [
        *(by.pem, by.pem.strip(), json.dumps(by.jwk).encode(), b""),
        *(
            public.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
            for encoding in (Encoding.PEM, Encoding.DER)
        ),
    ]
    signed = f"{part({'alg': algorithm, 'kid': by.kid})}.{part(claims())}"
    for secret in secrets:
        mac = hmac.digest(secret, signed.encode(), f"sha{algorithm[2:]}")
        assert "not allowed" in await untrusted(guard, f"{signed}.{part(mac)}")


@pytest.mark.parametrize(
    ("kind", "claimed"),
    [
        ("rsa", "ES256"),
        ("rsa", "EdDSA"),
        ("p256", "RS256"),
        ("p256", "ES384"),
        ("p384", "ES256"),
        ("ed25519", "RS256"),
        ("rsa", "PS256"),
        ("rsa", "RS512"),
    ],
)
async def test_another_kind_of_signature_than_it_has(guard: Guard, kind: str, claimed: str) -> None:
    by = signer(kind)
    algorithm: Any = jwt.get_algorithm_by_name(by.algorithm)
    signed = f"{part({'alg': claimed, 'kid': by.kid})}.{part(claims())}"
    text = f"{signed}.{part(algorithm.sign(signed.encode(), by.key))}"
    assert "not signed with a trusted key" in await untrusted(guard, text)


async def test_a_larger_curve_hash_does_not_pass_for_its_own(guard: Guard) -> None:
    """ES384's hash signed with a P-256 key: valid mathematics, not a valid combination."""
    by = signer("p256")
    assert isinstance(by.key, ec.EllipticCurvePrivateKey)
    algorithm: Any = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA384)
    signed = f"{part({'alg': 'ES384', 'kid': by.kid})}.{part(claims())}"
    text = f"{signed}.{part(algorithm.sign(signed.encode(), by.key))}"
    assert await untrusted(guard, text)


async def test_only_allowed_kinds_of_signatures(tmp_path: Path) -> None:
    path = bundle(tmp_path / "b.pem", signer("rsa"), signer("p256"))
    guard = make_guard(settings(rootcertbundle=path, signing_algorithms=("ES256", "RS512")), ())
    await admitted(guard, token(signer("p256")))
    await admitted(guard, token(signer("rsa"), algorithm="RS512"))
    assert "not allowed" in await untrusted(guard, token(signer("rsa")))


async def test_a_key_is_used_for_its_own_algorithm_only(tmp_path: Path) -> None:
    by = signer("rsa")
    path = key_set(tmp_path / "jwks", {**by.jwk, "kid": "k", "alg": "PS256"})
    guard = make_guard(settings(jwks=path), ())
    await admitted(guard, token(by, algorithm="PS256", kid="k"))
    assert await untrusted(guard, token(by, algorithm="RS256", kid="k"))


@pytest.mark.parametrize("kind", ["rsa", "p256", "ed25519"])
async def test_a_stranger(guard: Guard, kind: str) -> None:
    trusted, stranger = signer(kind), signer(kind, "stranger")
    headers: list[dict[str, Any]] = [
        {"kid": trusted.kid},
        {"kid": stranger.kid},
        {"kid": "unknown"},
        {"kid": ""},
        {"typ": "JWT"},
        {"jwk": stranger.jwk},
        {"jwk": {**stranger.jwk, "kid": trusted.kid}},
        {"jwk": {**stranger.jwk, "kid": trusted.kid}, "kid": trusted.kid},
        {"jwk": trusted.jwk},
        {"jwk": {}},
        {"jwk": {"kty": ["RSA"]}},
        {"jwk": {"kty": "oct", "k": "eA"}},
        {"jku": "https://stranger.test/jwks", "kid": trusted.kid},
        {"x5u": "https://stranger.test/x5c", "kid": trusted.kid},
        {"x5c": x5c(stranger.certificate)},
        {"x5c": x5c(stranger.certificate), "kid": trusted.kid},
        {"x5c": x5c(trusted.certificate)},
        {"x5c": x5c(stranger.certificate, trusted.certificate)},
    ]
    for header in headers:
        assert "trusted key" in await untrusted(guard, token(stranger, **header)), header


@pytest.mark.parametrize("kind", KINDS)
async def test_a_jwk_that_is_trusted(guard: Guard, kind: str) -> None:
    """Distribution's own token server sends its key along."""
    by = signer(kind)
    await admitted(guard, token(by, jwk=by.jwk))
    await admitted(guard, token(by, jwk={**by.jwk, "kid": "whatever"}))


@pytest.mark.parametrize(
    "header",
    [{"kid": 1}, {"kid": ["a"]}, {"x5c": "text"}, {"x5c": [1]}, {"jwk": "text"}, {"alg": 1}],
)
async def test_headers_of_other_types(guard: Guard, header: dict[str, Any]) -> None:
    text = unsigned({"alg": "RS256", "kid": signer("rsa").kid, **header})
    assert "malformed" in await untrusted(guard, text)


async def test_a_header_that_must_be_understood(guard: Guard) -> None:
    by = signer("rsa")
    signed = (
        f"{part({'alg': 'RS256', 'kid': by.kid, 'crit': ['b64'], 'b64': False})}.{part(claims())}"
    )
    algorithm: Any = jwt.get_algorithm_by_name("RS256")
    assert await untrusted(guard, f"{signed}.{part(algorithm.sign(signed.encode(), by.key))}")


@pytest.mark.parametrize("at", [0, 1, 2])
async def test_every_part_is_signed(guard: Guard, at: int) -> None:
    parts = token(signer("rsa")).split(".")
    raw = bytearray(base64.urlsafe_b64decode(parts[at] + "=="))
    if at == 1:
        raw = bytearray(bytes(raw).replace(b'"bob"', b'"ann"'))
    elif at == 0:
        raw = bytearray(bytes(raw).replace(b"JWT", b"JWS"))
    else:
        raw[9] ^= 1
    parts[at] = part(bytes(raw))
    assert "trusted key" in await untrusted(guard, ".".join(parts))


DEEP = b'{"alg":"RS256","x":' + b"[" * 10_000 + b"]" * 10_000 + b"}"


@pytest.mark.parametrize(
    "text",
    [
        "garbage",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "...",
        "..",
        "!.!.!",
        "ä.ö.ü",
        "\ud800.a.b",
        "a" * 1_000_000,
        f"{part({'alg': 'RS256'})}.{part({'exp': 1})}.{'a' * 100_000}",
        f"{part({'alg': 'RS256'})}.{part({'exp': 1})}.{'a' * 10_000}",
        f"{part(DEEP)}.{part(claims())}.eA",
        f"{part({'alg': 'RS256'})}.{part(DEEP)}.eA",
        f"{part([])}.{part([])}.eA",
        f"{part(b'{')}.{part(b'}')}.eA",
        f"{part(bytes(range(256)))}.{part(bytes(range(256)))}.eA",
        f"{part({'alg': 'RS256'})} .{part(claims())}.eA",
    ],
)
async def test_garbage(guard: Guard, text: str) -> None:
    assert "malformed" in await untrusted(guard, text)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Guard:
    path = bundle(tmp_path_factory.mktemp("keys") / "b.pem", signer("rsa"))
    return make_guard(settings(rootcertbundle=path), ())


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
HEADERS = st.dictionaries(st.sampled_from(["alg", "kid", "x5c", "jwk", "typ", "crit"]), ANY_JSON)
CLAIMS = st.dictionaries(
    st.sampled_from(["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "access"]), ANY_JSON
)


@given(HEADERS, CLAIMS, st.sampled_from(["RS256", "ES256", "none", None]))
async def test_whatever_is_not_signed_is_refused(
    lasting: Guard, header: dict[str, Any], content: dict[str, Any], algorithm: str | None
) -> None:
    if algorithm is not None:
        header["alg"] = algorithm
    await untrusted(lasting, f"{part(header)}.{part({**claims(), **content})}.eA")


@given(st.text(max_size=40))
async def test_whatever_is_no_token_is_refused(lasting: Guard, text: str) -> None:
    for header in (text, f"Bearer {text}"):
        with pytest.raises(Unauthorized) as caught:
            await lasting.admit(header, [])
        assert caught.value.challenge.encode("latin-1")


# -- certificates within a token ---------------------------------------------------------------


def issued(kind: str, by: Signer, name: str = "leaf", **options: Any) -> Signer:
    key, algorithm = make_key(kind)
    return Signer(key, algorithm, certificate(key, name, issuer=by, **options))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_certificate_that_is_trusted_itself(guard: Guard, kind: str) -> None:
    by = signer(kind)
    await admitted(guard, token(by, x5c=x5c(by.certificate)))


@pytest.mark.parametrize("root", ["rsa", "p256"])
@pytest.mark.parametrize("kind", ["rsa", "p256", "p384"])
async def test_certificates_that_lead_to_a_trusted_one(guard: Guard, root: str, kind: str) -> None:
    top = signer(root)
    leaf = issued(kind, top)
    middle = issued("p256", top, "middle", authority=True)
    low = issued(kind, middle, "low")
    await admitted(guard, token(leaf, x5c=x5c(leaf.certificate)))
    await admitted(guard, token(leaf, x5c=x5c(leaf.certificate, top.certificate)))
    await admitted(guard, token(low, x5c=x5c(low.certificate, middle.certificate)))
    assert await untrusted(guard, token(low, x5c=x5c(low.certificate)))
    assert await untrusted(guard, token(low, x5c=x5c(middle.certificate, low.certificate)))


async def test_who_is_no_authority_vouches_for_nobody(guard: Guard) -> None:
    middle = issued("p256", signer("rsa"), "middle")
    leaf = issued("p256", middle)
    assert await untrusted(guard, token(leaf, x5c=x5c(leaf.certificate, middle.certificate)))


@pytest.mark.parametrize("times", [{"starts": -3.0, "days": -1.0}, {"starts": 1.0, "days": 3.0}])
async def test_certificates_out_of_their_time(guard: Guard, times: dict[str, Any]) -> None:
    top = signer("rsa")
    leaf = issued("p256", top, **times)
    middle = issued("p256", top, "middle", authority=True, **times)
    low = issued("p256", middle, "low")
    assert await untrusted(guard, token(leaf, x5c=x5c(leaf.certificate)))
    assert await untrusted(guard, token(low, x5c=x5c(low.certificate, middle.certificate)))


@pytest.mark.parametrize("signs", [True, False, None])
async def test_an_authority_may_be_kept_from_signing(guard: Guard, signs: bool | None) -> None:
    middle = issued("p256", signer("rsa"), "middle", authority=True, signs=signs)
    leaf = issued("p256", middle)
    text = token(leaf, x5c=x5c(leaf.certificate, middle.certificate))
    if signs is False:
        await untrusted(guard, text)
    else:
        await admitted(guard, text)


@pytest.mark.parametrize("times", [{"starts": -3.0, "days": -1.0}, {"starts": 1.0, "days": 3.0}])
async def test_a_trusted_certificate_out_of_its_time(tmp_path: Path, times: dict[str, Any]) -> None:
    """By x5c it does not count; by kid its key is one of the list, as with Distribution."""
    key, algorithm = make_key("p256")
    old = Signer(key, algorithm, certificate(key, "old", authority=True, **times))
    guard = make_guard(settings(rootcertbundle=bundle(tmp_path / "b.pem", old)), ())
    assert await untrusted(guard, token(old, x5c=x5c(old.certificate)))
    await admitted(guard, token(old))


async def test_a_token_ends_with_its_certificate(tmp_path: Path) -> None:
    path = bundle(tmp_path / "b.pem", signer("rsa"))
    now = time.time()
    guard = TokenGuard(settings(rootcertbundle=path), None, lambda: now)
    leaf = issued("p256", signer("rsa"), days=0.25)
    text = token(leaf, claims(exp=now + 86400), x5c=x5c(leaf.certificate))
    await admitted(guard, text)
    now += 0.26 * 86400
    assert "expired" in await untrusted(guard, text)


async def test_another_authority_of_the_same_name(guard: Guard) -> None:
    false = signer("rsa", "other authority")
    same = Signer(false.key, "RS256", certificate(false.key, "authority", authority=True))
    leaf = issued("p256", same)
    for chain in ([leaf.certificate], [leaf.certificate, same.certificate]):
        assert await untrusted(guard, token(leaf, x5c=x5c(*chain)))


@pytest.mark.parametrize("encoded", [["!"], ["eA=="], [""], ["AAAA"] * 3])
async def test_certificates_that_are_none(guard: Guard, encoded: list[str]) -> None:
    assert await untrusted(guard, token(signer("rsa"), x5c=encoded))


async def test_of_strangers_only_what_is_quickly_verified_is_looked_at(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exponent as long as the key makes it a thousand times as slow; one name, many ways."""
    slow = slow_key()
    lasting = Signer(slow, "RS256", certificate(slow, "slow"))
    top = signer("rsa")
    leaf = issued("p256", top)
    middles = [issued("p256", top, "middle", authority=True) for _ in range(2)]
    low = issued("p256", middles[0], "low")
    one = issued("p256", top, "one", authority=True)

    def looked(*_: object) -> None:
        pytest.fail("it was looked at")

    monkeypatch.setattr(chains, "_chain", looked)
    for chain in (
        [lasting],
        [leaf, lasting],
        [low, *middles],
        [leaf, one, one],
    ):
        assert await untrusted(guard, token(leaf, x5c=x5c(*(each.certificate for each in chain))))


async def test_one_token_takes_one_place_however_it_is_written(guard: Guard) -> None:
    text = token(signer("rsa"))
    start, _, last = text.rpartition(".")
    raw = base64.urlsafe_b64decode(last + "==")
    spelled = {
        f"{start}.{last[:-1]}{sign}"
        for sign in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        if base64.urlsafe_b64decode(f"{last[:-1]}{sign}==") == raw
    }
    assert len(spelled) > 1
    for one in spelled:
        await admitted(guard, one)
    assert len(vars(guard)["_remembered"]) == 1
    assert await untrusted(guard, f"{start}.{part(b'x' * 256)}")


async def test_too_many_certificates(guard: Guard) -> None:
    by = signer("p256")
    assert await untrusted(guard, token(by, x5c=x5c(*[by.certificate] * 9)))


async def test_without_certificates_x5c_says_nothing(tmp_path: Path) -> None:
    by = signer("p256")
    guard = make_guard(settings(jwks=key_set(tmp_path / "jwks", {**by.jwk, "kid": "k"})), ())
    await admitted(guard, token(by, x5c=x5c(by.certificate), kid="k"))
    assert await untrusted(guard, token(by, x5c=x5c(by.certificate)))


# -- time, and keys that change ----------------------------------------------------------------


async def test_a_remembered_token_still_expires(tmp_path: Path) -> None:
    now = 1_000_000.0
    path = bundle(tmp_path / "b.pem", signer("rsa"))
    guard = TokenGuard(settings(rootcertbundle=path), None, lambda: now)
    text = token(signer("rsa"), claims(nbf=now - 10, exp=now + 10))
    await admitted(guard, text)
    assert await admitted(guard, text) is await admitted(guard, text)
    now += 70
    await admitted(guard, text)
    now += 0.5
    assert "expired" in await untrusted(guard, text)
    now -= 200
    assert "not valid yet" in await untrusted(guard, text)


async def test_keys_are_exchanged(tmp_path: Path) -> None:
    old, new = signer("p256", "old"), signer("p256", "new")
    path = bundle(tmp_path / "b.pem", old)
    guard = make_guard(settings(rootcertbundle=path), ())
    text = token(old)
    await admitted(guard, text)
    bundle(path, old, new)
    await admitted(guard, text)
    await admitted(guard, token(new))
    bundle(path, new)
    assert await untrusted(guard, text)
    await admitted(guard, token(new))


@pytest.mark.parametrize("content", [None, b"", b"garbage", b'{"keys": []}'])
async def test_without_keys_nobody_is_admitted(tmp_path: Path, content: bytes | None) -> None:
    by = signer("p256")
    certificates = bundle(tmp_path / "b.pem", by)
    keys = key_set(tmp_path / "jwks", {**by.jwk, "kid": "k"})
    guard = make_guard(settings(rootcertbundle=certificates, jwks=keys), ())
    for path in (certificates, keys):
        before = path.read_bytes()
        await admitted(guard, token(by))
        path.unlink() if content is None else path.write_bytes(content)
        assert "at the moment" in await untrusted(guard, token(by))
        path.write_bytes(before)
        await admitted(guard, token(by))


def test_keys_of_no_use(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = {**signer("p256").jwk, "kid": "good"}
    useless: list[Any] = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
        {**signer("rsa").jwk, "use": "enc"},
        {**signer("p384").jwk, "alg": "ES256"},
        {**signer("rsa").jwk, "alg": "HS256"},
        signer("weak").jwk,
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"},
        {"kty": ["RSA"]},
        {"kty": "RSA"},
        {},
        "text",
    ]
    path = key_set(tmp_path / "jwks", good, *useless)
    make_guard(settings(jwks=path), ())
    assert len(caplog.records) == len(useless)
    assert "c2VjcmV0" not in caplog.text
    with pytest.raises(ConfigurationError, match="no public RSA, EC or Ed25519 key"):
        make_guard(settings(jwks=key_set(path, *useless)), ())


async def test_a_private_key_in_the_key_set(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    by = signer("p256")
    algorithm: Any = jwt.get_algorithm_by_name("ES256")
    private = {**algorithm.to_jwk(by.key, as_dict=True), "kid": "k"}
    guard = make_guard(settings(jwks=key_set(tmp_path / "jwks", private)), ())
    assert "private key" in caplog.text
    assert private["d"] not in caplog.text
    await admitted(guard, token(by, kid="k"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({}, "no keys"),
        ({"rootcertbundle": Path("absent.pem")}, "absent.pem cannot be used: No such file"),
        ({"jwks": Path("absent.json")}, "absent.json cannot be used: No such file"),
        ({"signing_algorithms": ("RS256", "HS256")}, "'HS256'"),
        ({"signing_algorithms": ("none",)}, "'none'"),
    ],
)
def test_settings_that_admit_nobody(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        make_guard(settings(**changed), ())
    assert caught.value.hint


def test_a_bundle_of_no_use(tmp_path: Path) -> None:
    path = tmp_path / "b.pem"
    path.write_bytes(b"")
    with pytest.raises(ConfigurationError, match="no certificate in PEM form"):
        make_guard(settings(rootcertbundle=path), ())
    with pytest.raises(ConfigurationError, match="no RSA key of 2048 bits"):
        make_guard(settings(rootcertbundle=bundle(path, signer("weak"))), ())


def test_rfc_7638_example() -> None:
    """The thumbprint of section 3.1."""
    from jettison.server.access.keys import thumbprint

    modulus = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECP"
        "ebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY"
        "368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0f"
        "M4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    jwk = {"kty": "RSA", "e": "AQAB", "n": modulus, "alg": "RS256", "kid": "2011-04-29"}
    assert thumbprint(jwk) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_the_names_that_distribution_3_gives() -> None:
    """All keys of a curve have one: that of its base point."""
    names = {key_names(signer("p256", who).key.public_key())[2] for who in ("a", "b")}
    point = ec.derive_private_key(1, ec.SECP256R1()).public_key()
    encoded = point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    x, y = part(encoded[1:33]), part(encoded[33:])
    raw = f'{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}'.encode()
    assert names == {part(hashlib.sha256(raw).digest())}
