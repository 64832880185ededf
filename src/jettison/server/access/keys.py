"""Keys that may sign tokens, from certificates or a JSON Web Key Set.

A token names its key (``kid``), and the meaning of a name depends on the token server. So a key has
each of these names:

- libtrust's fingerprint, which Distribution 2.x asks for;
- the thumbprint of RFC 7638, which 3.x documents;
- the value that 3.x really computes, which differs for keys on a curve: it takes the base point of
  the curve of an EC key, and writes the type of an Ed25519 key as ``OTP``. A name is not a secret
  and not a proof;
- in a key set, the ``kid`` there.
"""

import base64
import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt import PyJWK, PyJWTError

from jettison.errors import InvalidDocument
from jettison.model import strict_json

__all__ = [
    "Keys",
    "PublicKey",
    "TokenKey",
    "key_names",
    "parse_certificates",
    "parse_jwks",
    "thumbprint",
]

MIN_RSA_BITS: Final = 2048
_RSA: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_CURVE_NAMES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_MEMBERS: Final = {"RSA": ("e", "n"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
_PUBLIC: Final = (rsa.RSAPublicKey, ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey)
_PRIVATE: Final = (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey)

_log = logging.getLogger(__name__)


class TokenKey(NamedTuple):
    """A public key, and the signatures that it may be used for."""

    public: PublicKey
    algorithms: frozenset[str]


class Keys:
    """All keys that are trusted, and the certificates that may vouch for others."""

    def __init__(
        self, certificates: Iterable[x509.Certificate], named: Iterable[tuple[str, TokenKey]]
    ) -> None:
        self.certificates = tuple(certificates)
        by_name: defaultdict[str, list[TokenKey]] = defaultdict(list)
        by_thumbprint: dict[str, TokenKey] = {}
        for certificate in self.certificates:
            key = certificate_key(certificate)
            if key is not None:
                for name in key_names(key.public):
                    by_name[name].append(key)
                by_thumbprint[_own_thumbprint(key.public)] = key
        for name, key in named:
            by_name[name].append(key)
            by_thumbprint[_own_thumbprint(key.public)] = key
        self.by_name: Mapping[str, tuple[TokenKey, ...]] = {n: tuple(k) for n, k in by_name.items()}
        self.by_thumbprint: Mapping[str, TokenKey] = by_thumbprint

    def __len__(self) -> int:
        return len(self.by_thumbprint)


def parse_certificates(raw: bytes) -> tuple[x509.Certificate, ...]:
    """Read a PEM file; anything but certificates is skipped.

    Raises ``ValueError`` if there are none with a key that could verify a token.
    """
    try:
        found = tuple(x509.load_pem_x509_certificates(raw))
    except ValueError:
        found = ()
    if not found:
        raise ValueError("it has no certificate in PEM form")
    if not any(certificate_key(certificate) for certificate in found):
        message = f"its certificates have no RSA key of {MIN_RSA_BITS} bits, EC or Ed25519 key"
        raise ValueError(message)
    return found


def parse_jwks(raw: bytes) -> tuple[tuple[str, TokenKey], ...]:
    """Read a JSON Web Key Set (RFC 7517, section 5) and return its keys with their names.

    Keys that cannot verify a token are skipped with a warning: secrets, those for encryption, other
    curves. Raises ``ValueError`` if none is left.
    """
    try:
        document: object = strict_json.decode(raw, object)
    except InvalidDocument:
        document = None
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        message = 'it is not a JSON object with a list of "keys"'
        raise ValueError(message)  # noqa: TRY004 - a file's content, no argument
    found: list[tuple[str, TokenKey]] = []
    for number, data in enumerate(listed, 1):
        key = _jwk_key(data) if isinstance(data, dict) else None
        if key is None:
            _log.warning("key %d of the key set cannot verify a token, and is not used", number)
            continue
        name = data.get("kid")
        own = isinstance(name, str) and name
        found.extend((each, key) for each in ([name] if own else key_names(key.public)))
    if not found:
        raise ValueError("it has no public RSA, EC or Ed25519 key for signatures")
    return tuple(found)


def _jwk_key(data: dict[str, Any]) -> TokenKey | None:
    if data.get("use", "sig") != "sig" or str(data.get("kty")) not in _MEMBERS:
        return None
    try:
        # Without its `alg`: the library would choose by it how to read the rest.
        found = PyJWK({name: value for name, value in data.items() if name != "alg"}).key
    except (PyJWTError, ValueError, TypeError, UnsupportedAlgorithm):
        return None
    if isinstance(found, _PRIVATE):
        _log.warning("the key set holds a private key; its public part is enough")
        found = found.public_key()
    key = _usable(found)
    if key is not None and "alg" in data:
        only = key.algorithms & {str(data["alg"])}
        return TokenKey(key.public, only) if only else None
    return key


def certificate_key(certificate: x509.Certificate) -> TokenKey | None:
    """Return the key of a certificate, or None if such a key cannot sign tokens."""
    try:
        return _usable(certificate.public_key())
    except (ValueError, UnsupportedAlgorithm):
        return None


def _usable(public: object) -> TokenKey | None:
    if not isinstance(public, _PUBLIC):
        return None
    if isinstance(public, rsa.RSAPublicKey):
        return TokenKey(public, _RSA) if public.key_size >= MIN_RSA_BITS else None
    if isinstance(public, ec.EllipticCurvePublicKey):
        algorithm = _CURVES.get(public.curve.name)
        return TokenKey(public, frozenset({algorithm})) if algorithm else None
    return TokenKey(public, frozenset({"EdDSA"}))


def key_names(public: PublicKey) -> tuple[str, ...]:
    """Return every ``kid`` of ``public``, as listed above."""
    jwk = _jwk(public)
    own = thumbprint(jwk)
    names = [_fingerprint(public), own or ""]
    if isinstance(public, ec.EllipticCurvePublicKey):
        base = ec.derive_private_key(1, public.curve).public_key().public_numbers()
        names.append(thumbprint({**jwk, "x": _number(base.x), "y": _number(base.y)}) or "")
    elif isinstance(public, ed25519.Ed25519PublicKey):
        names.append(_hashed({**jwk, "kty": "OTP"}))
    return tuple(names)


def thumbprint(jwk: Mapping[str, Any]) -> str | None:
    """Return the thumbprint (RFC 7638, SHA-256) of a key, or None if it is not a public key.

    It hashes the members as they are, and computes nothing with a key that a stranger sent.
    """
    kind = jwk.get("kty")
    names = _MEMBERS.get(kind) if isinstance(kind, str) else None
    if names is None or not all(isinstance(jwk.get(name), str) for name in names):
        return None
    return _hashed({"kty": kind, **{name: jwk[name] for name in names}})


def _own_thumbprint(public: PublicKey) -> str:
    return _hashed(_jwk(public))


def _hashed(members: Mapping[str, Any]) -> str:
    raw = msgspec.json.encode(dict(sorted(members.items())))
    return _text(hashlib.sha256(raw).digest())


def _jwk(public: PublicKey) -> dict[str, str]:
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        return {"kty": "RSA", "e": _number(numbers.e), "n": _number(numbers.n)}
    if isinstance(public, ec.EllipticCurvePublicKey):
        point = public.public_numbers()
        size = (public.key_size + 7) // 8
        return {
            "kty": "EC",
            "crv": _CURVE_NAMES[public.curve.name],
            "x": _number(point.x, size),
            "y": _number(point.y, size),
        }
    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return {"kty": "OKP", "crv": "Ed25519", "x": _text(raw)}


def _fingerprint(public: PublicKey) -> str:
    raw = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    text = base64.b32encode(hashlib.sha256(raw).digest()[:30]).decode()
    return ":".join(text[start : start + 4] for start in range(0, len(text), 4))


def _number(value: int, size: int = 0) -> str:
    return _text(value.to_bytes(max(size, (value.bit_length() + 7) // 8)))


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
