"""Certificates in a token (``x5c``, RFC 7515, section 4.1.6)."""

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from jettison.server.access.keys import TokenKey, certificate_key

__all__ = ["verified_key"]

MAX_CERTIFICATES: Final = 8
MAX_RSA_BITS: Final = 8192
_EXPONENT_BITS: Final = 32


def verified_key(
    encoded: Sequence[str], trusted: Sequence[x509.Certificate], now: float
) -> tuple[TokenKey, float] | None:
    """Return the key of the first certificate, and until when (seconds) its chain is valid.

    The first certificate is a trusted one itself, or the others lead from it to a trusted one. Its
    permitted uses do not matter, as with Distribution; but those above it must be authorities.
    None if it is not trusted, not valid ``now``, or not understood.

    A chain is verified as on the web: RSA from 2048 bits, and the curves of NIST. To bound the work
    that strangers cause, a chain with two certificates of one name is refused, because there would
    be many ways between them, and so is an RSA key of an unusual size or exponent.
    """
    if not 0 < len(encoded) <= MAX_CERTIFICATES or not trusted:
        return None
    moment = datetime.fromtimestamp(now, UTC)
    try:
        leaf, *others = (
            x509.load_der_x509_certificate(base64.b64decode(each, validate=True))
            for each in encoded
        )
        if not _is_quick([leaf, *others]):
            return None
        chain = [leaf] if leaf in trusted else _chain(leaf, others, trusted, moment)
        key = certificate_key(leaf)
        valid = all(c.not_valid_before_utc <= moment <= c.not_valid_after_utc for c in chain)
    except (binascii.Error, ValueError, TypeError, UnsupportedAlgorithm, VerificationError):
        return None
    if key is None or not valid:
        return None
    return key, min(c.not_valid_after_utc.timestamp() for c in chain)


def _is_quick(certificates: Sequence[x509.Certificate]) -> bool:
    """Whether a chain of these is quick to verify."""
    names = {certificate.subject.public_bytes() for certificate in certificates}
    return len(names) == len(certificates) and all(
        _is_quick_key(certificate.public_key()) for certificate in certificates
    )


def _is_quick_key(public: object) -> bool:
    if not isinstance(public, rsa.RSAPublicKey):
        return True
    return (
        public.key_size <= MAX_RSA_BITS and public.public_numbers().e.bit_length() <= _EXPONENT_BITS
    )


def _chain(
    leaf: x509.Certificate,
    others: list[x509.Certificate],
    trusted: Sequence[x509.Certificate],
    moment: datetime,
) -> list[x509.Certificate]:
    authority = (
        ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _is_authority)
        .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_sign)
    )
    verifier = (
        PolicyBuilder()
        .store(Store(list(trusted)))
        .time(moment)
        .max_chain_depth(MAX_CERTIFICATES)
        .extension_policies(ca_policy=authority, ee_policy=ExtensionPolicy.permit_all())
        .build_client_verifier()
    )
    return list(verifier.verify(leaf, others).chain)


def _is_authority(
    _policy: Policy, _certificate: x509.Certificate, found: x509.BasicConstraints
) -> None:
    if not found.ca:
        raise ValueError("not an authority")


def _may_sign(_policy: Policy, _certificate: x509.Certificate, found: x509.KeyUsage | None) -> None:
    if found is not None and not found.key_cert_sign:
        raise ValueError("an authority that may not sign certificates")
