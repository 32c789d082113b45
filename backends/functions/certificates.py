"""TLS among workers: an authority of its own for every fleet of workers, and a certificate a member.

The authority's key stays in the memory of the process that made it and ends with it, so that a
certificate of another fleet, or of yesterday, opens nothing. Members are checked both ways.
"""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: days that a fleet of workers may live; its members are made anew with every one
LIFETIME: Final = datetime.timedelta(days=30)
#: clocks of hosts may differ by so much
_SKEW: Final = datetime.timedelta(hours=1)


@dataclass(frozen=True)
class Member:
    """What a member of the fleet shows: PEM texts. ``key`` is a secret."""

    authority: str
    certificate: str
    key: str

    def __repr__(self) -> str:
        return "Member(…)"


class Authority:
    """Makes certificates for the members of one fleet of workers."""

    def __init__(self, fleet: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(f"sidestep workers of {fleet}")
        now = datetime.datetime.now(datetime.UTC)
        self._from, self._until = now - _SKEW, now + LIFETIME
        self._certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signing=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pem(self) -> str:
        """The authority's own certificate."""
        return _pem(self._certificate)

    def member(self, name: str, address: str = "") -> Member:
        """A certificate and its key, for a member that listens at ``address`` or at none."""
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if address else [])]
        builder = (
            self._builder(_name(name), key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signing=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        )
        if address:
            listed = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
            builder = builder.add_extension(listed, critical=False)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Member(self.pem, _pem(builder.sign(self._key, hashes.SHA256())), secret.decode())

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._from)
            .not_valid_after(self._until)
        )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _usage(*, signing: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signing,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signing,
        crl_sign=signing,
        encipher_only=False,
        decipher_only=False,
    )
