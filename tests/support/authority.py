"""A private authority, and a certificate of it for a server on loopback."""

import datetime as dt
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

__all__ = ["Authority"]

_LOOPBACK = ipaddress.ip_address("127.0.0.1")


class Authority:
    """An authority that nothing trusts by itself: its own certificate is in `file`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.file = folder / "authority.pem"
        self.certificate = folder / "certificate.pem"
        self.key = folder / "key.pem"
        own, servers = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        root = _begin("authority", own).add_extension(x509.BasicConstraints(True, None), True)
        names = x509.SubjectAlternativeName([x509.IPAddress(_LOOPBACK)])
        leaf = _begin("server", servers).add_extension(names, False)
        self.file.write_bytes(root.sign(own, hashes.SHA256()).public_bytes(Encoding.PEM))
        self.certificate.write_bytes(leaf.sign(own, hashes.SHA256()).public_bytes(Encoding.PEM))
        plain = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.key.write_bytes(servers.private_bytes(*plain))


def _begin(name: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
    )
