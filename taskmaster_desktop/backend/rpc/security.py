"""Who may talk to whom: one certificate authority per instance, made and kept here.

The authority and the server's certificate live in `<data folder>/tls` (0700, files 0600). Each worker gets
a certificate of its own whose common name is its id; its key exists only in memory and in the worker.
The name in the server's certificate carries the instance, so a worker never talks to another instance,
and an instance trusts no authority but its own.

Everything is synchronous and short (a signature takes well under a millisecond); called from the
engine's thread only.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from taskmaster_desktop.backend.clock import SECOND_US
from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.backend.ports import Clock

log = logging.getLogger(__name__)

BACKDATED = timedelta(hours=1)
"""Certificates are valid from an hour ago: the clocks of a worker's machine may lag."""
CA_LIFE = timedelta(days=20 * 365)
LEAF_LIFE = timedelta(days=398)
RENEW_BEFORE = timedelta(days=30)

_INSTANCE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,48}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate with its private key, both PEM."""

    cert_pem: bytes
    key_pem: bytes


@dataclass(frozen=True, slots=True)
class _Signer:
    """A loaded certificate with its key."""

    cert: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def identity(self) -> Identity:
        key_pem = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Identity(self.cert.public_bytes(serialization.Encoding.PEM), key_pem)


def server_name_of(instance: str) -> str:
    """The name by which the workers of `instance` know their engine. It is never looked up anywhere."""
    if not _INSTANCE.fullmatch(instance):
        raise ValueError(f"not an instance id: {instance!r}")
    return f"{instance.lower()}.taskmaster.invalid"


class Authority:
    """The instance's certificate authority. `open` loads or makes it; `issue` signs for a worker."""

    def __init__(self, instance: str, ca: _Signer, server: Identity, clock: Clock) -> None:
        self.server_name = server_name_of(instance)
        self.server = server
        self.ca_pem = ca.cert.public_bytes(serialization.Encoding.PEM)
        self._ca = ca
        self._clock = clock

    @classmethod
    def open(cls, folder: Path, instance: str, clock: Clock) -> Authority:
        """Loads the authority and the server's certificate from `folder`; makes what is missing, damaged,
        of another instance, or close to its end.

        Raises:
            EnvironmentProblem: the folder cannot be used.
        """
        name = server_name_of(instance)
        now = _utc(clock)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
            ca = _load(folder, "ca")
            if ca is None or not _usable(ca, _ca_name(name), now, LEAF_LIFE + RENEW_BEFORE):
                ca = _make_ca(name, now)
                _save(folder, "ca", ca.identity)
            server = _load(folder, "server")
            if server is None or not _usable(server, name, now, RENEW_BEFORE) or not _signed_by(server, ca):
                server = _make_leaf(ca, name, now, server_name=name)
                _save(folder, "server", server.identity)
        except OSError as error:
            raise EnvironmentProblem(
                f"The folder for the workers' certificates cannot be used: {error}.",
                fix="Make the data folder writable for this user or choose another with --data-dir.",
            ) from error
        return cls(instance, ca, server.identity, clock)

    def issue(self, worker_id: str) -> Identity:
        """A fresh identity for one worker, good for connecting as a client only; kept nowhere."""
        if not 1 <= len(worker_id) <= 64:  # the limit of a common name
            raise ValueError(f"not a worker id: {worker_id!r}")
        return _make_leaf(self._ca, worker_id, _utc(self._clock)).identity


def _utc(clock: Clock) -> datetime:
    return datetime.fromtimestamp(clock.now().wall_us // SECOND_US, UTC)


def _ca_name(server_name: str) -> str:
    return f"ca.{server_name}"


def _make_ca(server_name: str, now: datetime) -> _Signer:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _x509_name(_ca_name(server_name))
    cert = (
        _builder(name, name, key.public_key(), now, now + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _Signer(cert, key)


def _make_leaf(ca: _Signer, common_name: str, now: datetime, *, server_name: str | None = None) -> _Signer:
    """A server's certificate where `server_name` is given, a worker's otherwise."""
    key = ec.generate_private_key(ec.SECP256R1())
    usage = ExtendedKeyUsageOID.CLIENT_AUTH if server_name is None else ExtendedKeyUsageOID.SERVER_AUTH
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key())
    end = min(now + LEAF_LIFE, ca.cert.not_valid_after_utc)
    builder = (
        _builder(_x509_name(common_name), ca.cert.subject, key.public_key(), now, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(issuer_id, critical=False)
    )
    if server_name is not None:
        names = x509.SubjectAlternativeName([x509.DNSName(server_name)])
        builder = builder.add_extension(names, critical=False)
    return _Signer(builder.sign(ca.key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _x509_name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _usable(signer: _Signer, common_name: str, now: datetime, left: timedelta) -> bool:
    """Whether a kept certificate is for `common_name`, already valid, and so for `left` longer."""
    cert = signer.cert
    if cert.subject != _x509_name(common_name):
        return False
    return cert.not_valid_before_utc <= now and now + left < cert.not_valid_after_utc


def _signed_by(signer: _Signer, ca: _Signer) -> bool:
    try:
        signer.cert.verify_directly_issued_by(ca.cert)
    except (InvalidSignature, ValueError, TypeError) as error:
        log.info("The kept certificate is not of this authority: %r", error)
        return False
    return True


def _load(folder: Path, name: str) -> _Signer | None:
    """None where there is nothing, or nothing that fits together."""
    try:
        cert_pem = (folder / f"{name}.pem").read_bytes()
        key_pem = (folder / f"{name}-key.pem").read_bytes()
    except FileNotFoundError:
        return None
    try:
        cert = x509.load_pem_x509_certificate(cert_pem)
        key = serialization.load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError) as error:
        log.warning("The certificate %s is damaged and is made anew: %s", name, error)
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != cert.public_key():
        log.warning("The certificate %s does not fit its key and is made anew", name)
        return None
    return _Signer(cert, key)


def _save(folder: Path, name: str, identity: Identity) -> None:
    """The key first: a crash in between leaves a pair that does not fit and is made anew."""
    _write_private(folder / f"{name}-key.pem", identity.key_pem)
    _write_private(folder / f"{name}.pem", identity.cert_pem)


def _write_private(path: Path, content: bytes) -> None:
    """Replaces `path` in one step; nobody else can read it at any moment."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
