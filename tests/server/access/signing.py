"""Keys, certificates and tokens, made for a test."""

import base64
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

SERVICE = "registry.test"
ISSUER = "issuer.test"
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class Signer:
    """A private key with a certificate of its own, and the algorithm it usually signs with."""

    key: PrivateKey
    algorithm: str
    certificate: x509.Certificate

    @property
    def kid(self) -> str:
        """libtrust's fingerprint."""
        public = self.key.public_key()
        raw = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        text = base64.b32encode(hashlib.sha256(raw).digest()[:30]).decode()
        return ":".join(text[at : at + 4] for at in range(0, 48, 4))

    @property
    def jwk(self) -> dict[str, Any]:
        """The public key as a JSON Web Key, with nothing optional in it."""
        algorithm: Any = jwt.get_algorithm_by_name(self.algorithm)
        found = algorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {name: found[name] for name in ("kty", "crv", "e", "n", "x", "y") if name in found}

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)


@cache
def signer(kind: str, name: str = "authority") -> Signer:
    """One signer of a kind and name; making RSA keys takes time."""
    key, algorithm = make_key(kind)
    return Signer(key, algorithm, certificate(key, name, authority=True))


def make_key(kind: str) -> tuple[PrivateKey, str]:
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048), "RS256"
    if kind == "weak":
        return rsa.generate_private_key(65537, 1024), "RS256"  # noqa: S505 - to be refused
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate(), "EdDSA"
    curves: dict[str, tuple[ec.EllipticCurve, str]] = {
        "p256": (ec.SECP256R1(), "ES256"),
        "p384": (ec.SECP384R1(), "ES384"),
        "p521": (ec.SECP521R1(), "ES512"),
    }
    curve, algorithm = curves[kind]
    return ec.generate_private_key(curve), algorithm


def slow_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """A key whose public exponent is as long as its modulus."""
    numbers = rsa.generate_private_key(65537, bits).private_numbers()
    p, q, d = numbers.p, numbers.q, 65537
    public = rsa.RSAPublicNumbers(pow(d, -1, (p - 1) * (q - 1)), p * q)
    made = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), rsa.rsa_crt_iqmp(p, q), public)
    return made.private_key(unsafe_skip_rsa_key_validation=True)


def certificate(
    key: PrivateKey,
    name: str,
    *,
    issuer: Signer | None = None,
    authority: bool = False,
    signs: bool | None = None,
    starts: float = -1.0,
    days: float = 1.0,
) -> x509.Certificate:
    """A certificate, valid from `starts` to `days` from now, signed by `issuer` or itself.

    `signs` adds the extension that says whether it may sign certificates.
    """
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = datetime.now(UTC) + timedelta(days=starts)
    above = issuer.certificate.subject if issuer else subject
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(above)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=days - starts))
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
    )
    if signs is not None:
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=signs,
            crl_sign=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = builder.add_extension(usage, critical=True)
    signing = issuer.key if issuer else key
    hashed = None if isinstance(signing, ed25519.Ed25519PrivateKey) else SHA256()
    return builder.sign(signing, hashed)


def claims(**changed: Any) -> dict[str, Any]:
    """Good claims that allow to pull team/app; None takes one away, a function gets the time."""
    now = int(time.time())
    found: dict[str, Any] = {
        "iss": ISSUER,
        "sub": "bob",
        "aud": SERVICE,
        "jti": "1",
        "exp": now + 300,
        "nbf": now - 5,
        "iat": now,
        "access": [{"type": "repository", "name": "team/app", "actions": ["pull"]}],
        **changed,
    }
    found = {name: value(now) if callable(value) else value for name, value in found.items()}
    return {name: value for name, value in found.items() if value is not None}


def access(*entries: str) -> list[dict[str, Any]]:
    """The claim `access` from scopes."""
    split = [entry.rsplit(":", 1) for entry in entries]
    return [
        {
            "type": left.partition(":")[0],
            "name": left.partition(":")[2],
            "actions": right.split(","),
        }
        for left, right in split
    ]


def token(
    by: Signer,
    content: Mapping[str, Any] | None = None,
    *,
    algorithm: str | None = None,
    **header: Any,
) -> str:
    """A token that `by` signed, whose header names its key unless it is given another header."""
    found = header or {"kid": by.kid}
    content = claims() if content is None else content
    return jwt.encode(dict(content), by.key, algorithm=algorithm or by.algorithm, headers=found)


def part(content: object) -> str:
    """A part of a token."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def x5c(*chain: x509.Certificate) -> list[str]:
    return [base64.b64encode(each.public_bytes(Encoding.DER)).decode() for each in chain]


def bundle(path: Path, *signers: Signer) -> Path:
    """Write the signers' certificates into one file."""
    path.write_bytes(b"".join(each.pem for each in signers))
    return path


def key_set(path: Path, *keys: Mapping[str, Any]) -> Path:
    path.write_text(json.dumps({"keys": list(keys)}))
    return path
