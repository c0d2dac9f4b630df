"""The instance's certificate authority."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.backend.rpc.security import Authority, Identity, server_name_of
from tests.helpers.shifted_clock import ShiftedClock

NOW = SystemClock()


def parsed(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def common_name(cert: x509.Certificate) -> str | bytes:
    return cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value


def usages(cert: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return list(cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_what_is_made_and_where_it_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    authority = Authority.open(folder, "abc", NOW)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == dict.fromkeys(
        ["ca.pem", "ca-key.pem", "server.pem", "server-key.pem"], 0o600
    )
    ca, server = parsed(authority.ca_pem), parsed(authority.server.cert_pem)
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    server.verify_directly_issued_by(ca)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [authority.server_name]
    assert "abc" in authority.server_name
    assert usages(server) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_certificates_are_backdated_an_hour_and_on_p256(tmp_path: Path) -> None:
    before = NOW.now().wall_us // 1_000_000
    authority = Authority.open(tmp_path, "abc", NOW)
    for pem in (authority.ca_pem, authority.server.cert_pem, authority.issue("w-1").cert_pem):
        cert = parsed(pem)
        backdated = before - cert.not_valid_before_utc.timestamp()
        assert 3590 <= backdated <= 3600
        key = cert.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert isinstance(key.curve, ec.SECP256R1)


def test_a_workers_identity_is_its_own_and_kept_nowhere(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path, "abc", NOW)
    one, two = authority.issue("w-1"), authority.issue("w-1")
    cert = parsed(one.cert_pem)
    cert.verify_directly_issued_by(parsed(authority.ca_pem))
    assert common_name(cert) == "w-1"
    assert usages(cert) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not cert.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert one.key_pem != two.key_pem
    assert one.key_pem not in {path.read_bytes() for path in tmp_path.iterdir()}


@pytest.mark.parametrize("worker_id", ["", "x" * 65])
def test_a_worker_id_must_fit_into_a_common_name(worker_id: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a worker id"):
        Authority.open(tmp_path, "abc", NOW).issue(worker_id)


@pytest.mark.parametrize("instance", ["", "a b", "-a", "a-", "a.b", "x" * 51, "ü"])
def test_an_instance_id_must_fit_into_a_name(instance: str) -> None:
    with pytest.raises(ValueError, match="not an instance id"):
        server_name_of(instance)


def test_it_is_the_same_at_the_next_start(tmp_path: Path) -> None:
    first, second = Authority.open(tmp_path, "abc", NOW), Authority.open(tmp_path, "abc", NOW)
    assert first.ca_pem == second.ca_pem
    assert first.server == second.server
    parsed(first.issue("w-1").cert_pem).verify_directly_issued_by(parsed(second.ca_pem))


@pytest.mark.parametrize("days", [369, 500])
def test_the_servers_certificate_is_renewed_near_its_end(days: int, tmp_path: Path) -> None:
    first = Authority.open(tmp_path, "abc", NOW)
    later = Authority.open(tmp_path, "abc", ShiftedClock(days=days))
    assert later.ca_pem == first.ca_pem
    assert later.server != first.server
    assert Authority.open(tmp_path, "abc", ShiftedClock(days=days)).server == later.server


def test_the_authority_is_renewed_before_it_could_not_sign_for_long(tmp_path: Path) -> None:
    first = Authority.open(tmp_path, "abc", NOW)
    later = Authority.open(tmp_path, "abc", ShiftedClock(days=19 * 365))
    assert later.ca_pem != first.ca_pem
    parsed(later.server.cert_pem).verify_directly_issued_by(parsed(later.ca_pem))


def test_a_clock_set_back_makes_new_certificates_rather_than_none_that_work(tmp_path: Path) -> None:
    first = Authority.open(tmp_path, "abc", NOW)
    assert Authority.open(tmp_path, "abc", ShiftedClock(days=-2)).ca_pem != first.ca_pem


def test_another_instance_gets_another_authority(tmp_path: Path) -> None:
    first = Authority.open(tmp_path, "abc", NOW)
    second = Authority.open(tmp_path, "xyz", NOW)
    assert second.ca_pem != first.ca_pem
    assert second.server_name != first.server_name


def test_a_server_certificate_of_another_authority_is_replaced(tmp_path: Path) -> None:
    ours, other = Authority.open(tmp_path / "1", "abc", NOW), Authority.open(tmp_path / "2", "abc", NOW)
    for name in ("server.pem", "server-key.pem"):
        (tmp_path / "1" / name).write_bytes((tmp_path / "2" / name).read_bytes())
    again = Authority.open(tmp_path / "1", "abc", NOW)
    assert again.ca_pem == ours.ca_pem
    assert again.server not in (ours.server, other.server)


@pytest.mark.expects_logs
@pytest.mark.parametrize("name", ["ca.pem", "ca-key.pem", "server.pem", "server-key.pem"])
@pytest.mark.parametrize("damage", [b"", b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"])
def test_damaged_files_are_replaced(name: str, damage: bytes, tmp_path: Path) -> None:
    Authority.open(tmp_path, "abc", NOW)
    (tmp_path / name).write_bytes(damage)
    _works(Authority.open(tmp_path, "abc", NOW))


@pytest.mark.expects_logs
def test_a_key_that_does_not_fit_is_replaced(tmp_path: Path) -> None:
    """As a crash between the two files of a pair leaves it."""
    Authority.open(tmp_path, "abc", NOW)
    key = ec.generate_private_key(ec.SECP256R1())
    encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "ca-key.pem").write_bytes(key.private_bytes(*encoding))
    _works(Authority.open(tmp_path, "abc", NOW))


def _works(authority: Authority) -> None:
    ca = parsed(authority.ca_pem)
    parsed(authority.server.cert_pem).verify_directly_issued_by(ca)
    worker: Identity = authority.issue("w-1")
    parsed(worker.cert_pem).verify_directly_issued_by(ca)


def test_a_folder_that_cannot_be_used_is_said_with_its_fix(tmp_path: Path) -> None:
    (tmp_path / "tls").write_text("a file")
    with pytest.raises(EnvironmentProblem, match="--data-dir"):
        Authority.open(tmp_path / "tls", "abc", NOW)
