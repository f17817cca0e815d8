"""The way to a platform is encrypted, and who answers there is checked."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from secops.errors import Unreachable
from support.fakes.kubernetes import FakeKubernetes
from support.targets import moved, opened


def certificate(folder: Path, address: str) -> Path:
    """Make a certificate that signs itself, for an address; the file holds its key as well."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "secops test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{address}.pem"
    pem, none = serialization.Encoding.PEM, serialization.NoEncryption()
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, none)
    path.write_bytes(secret + made.public_bytes(pem))
    return path


@pytest.fixture
def served(
    tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[FakeKubernetes, str, Path]]:
    """An API server behind TLS, its address and its certificate."""
    path = certificate(tmp_path, request.param)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    fake = FakeKubernetes({"A": "1"})
    server = fake._server
    server.socket = context.wrap_socket(server.socket, server_side=True)
    yield fake, fake.url.replace("http://", "https://"), path
    fake.close()


@pytest.mark.parametrize("served", ["127.0.0.1"], indirect=True)
def test_an_authority_of_ones_own_is_trusted_where_it_is_named(
    served: tuple[FakeKubernetes, str, Path],
) -> None:
    fake, url, path = served
    moved(opened(fake, url=url, ca=str(path)), {"A": "2"})
    assert fake.running["A"] == "2"


@pytest.mark.parametrize("served", ["127.0.0.1"], indirect=True)
def test_an_unknown_authority_gets_no_token(served: tuple[FakeKubernetes, str, Path]) -> None:
    fake, url, _ = served
    with pytest.raises(Unreachable, match="its certificate does not hold: self-signed") as caught:
        opened(fake, url=url).read()
    assert "Nothing was changed" in caught.value.hint
    assert fake.count() == 0


@pytest.mark.parametrize("served", ["127.0.0.2"], indirect=True)
def test_a_certificate_of_another_host_gets_no_token(
    served: tuple[FakeKubernetes, str, Path],
) -> None:
    fake, url, path = served
    with pytest.raises(Unreachable, match="its certificate does not hold"):
        opened(fake, url=url, ca=str(path)).read()
    assert fake.count() == 0
