"""wss, with certificates that the test makes: an authority of our own, a server's, a client's."""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
import threading
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ccwatch.errors import ConnectFailed, FeedTimeout
from ccwatch.feed.connection import CONNECT_TIMEOUT_S
from ccwatch.protocol.messages import ConnectionState
from tests.feed.conftest import Pause, feed_for, timed_stop, wait_until
from tests.feed.servers import PING, PONG, foreign, frame, telemetry


class Authority:
    """Signs certificates, as files in a folder."""

    def __init__(self, folder, name):
        self.folder, self.key = folder, ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self.name, self.key, x509.BasicConstraints(ca=True, path_length=None))
        self.file = str(folder / f"{name}.pem")
        (folder / f"{name}.pem").write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(self, name, key, extension, days=(-1, 1)):
        now = datetime.now(UTC)
        key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return (
            x509.CertificateBuilder(self.name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now + timedelta(days=days[0]))
            .not_valid_after(now + timedelta(days=days[1]))
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .add_extension(key_id, critical=False)
            .add_extension(authority_id, critical=False)
            .add_extension(_usage(is_authority=key is self.key), critical=True)  # which Python 3.13 wants of an authority
            .sign(self.key, hashes.SHA256())
        )

    def issue(self, name, days=(-1, 1)):
        """Key and certificate in one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        certificate = self._sign(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, names, days)
        plain = serialization.NoEncryption()
        path = self.folder / f"{name}.pem"
        path.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        return str(path)


def _usage(*, is_authority):
    others = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"), False
    )
    return x509.KeyUsage(digital_signature=True, key_cert_sign=is_authority, crl_sign=is_authority, **others)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("pki"), "our-authority")


@pytest.fixture(scope="module")
def server_tls(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("server"))
    return context


@pytest.fixture
def trusting(authority):
    return ssl.create_default_context(cafile=authority.file)


def hello(peer):
    peer.shake()
    peer.send(frame(telemetry(0)))
    peer.until_gone()


def failure(live, url, **options):
    feed = live(url, pause=Pause(most=1), **options)
    return wait_until(lambda: feed.error)


def test_wss_with_an_authority_of_our_own_delivers(live, server_tls, trusting):
    def handler(connection):
        for n in range(500):
            connection.send(telemetry(n).decode())
        with contextlib.suppress(Exception):
            connection.recv()

    with foreign(handler, ssl=server_tls) as server:
        feed = live(server.url.replace("127.0.0.1", "localhost"), tls=trusting)
        assert feed.wait(500).latest.price == 599.0
        feed.stop()


def test_a_message_that_spans_many_tls_records_is_read_without_waiting_for_more(raw, live, server_tls, trusting):
    def script(peer):
        peer.shake()
        peer.send(frame(telemetry(0, note="x" * 300_000)) + frame(telemetry(1)))
        peer.until_gone()

    feed = live(raw(script, tls=server_tls).url, tls=trusting)
    assert feed.wait(2, timeout=2).latest.price == 101.0


def test_pings_are_answered_over_tls(raw, live, server_tls, trusting):
    answers = []

    def script(peer):
        peer.shake()
        peer.send(frame(b"are you there", PING))
        answers.append(peer.frame())
        peer.until_gone()

    live(raw(script, tls=server_tls).url, tls=trusting)
    assert wait_until(lambda: answers) == [(PONG, b"are you there")]


def test_a_certificate_of_an_unknown_authority_is_refused_for_good_and_names_the_setting(raw, live, server_tls):
    error = failure(live, raw(hello, tls=server_tls).url)
    assert isinstance(error, ConnectFailed)
    assert error.permanent
    assert "certificate is not trusted" in str(error)
    assert "tls_ca" in str(error)


@pytest.mark.parametrize(("days", "host"), [((-3, -1), "127.0.0.1"), ((-1, 1), "127.0.0.2")])
def test_a_certificate_that_has_expired_or_is_for_another_host_is_refused_for_good(raw, live, authority, trusting, days, host):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("odd", days))
    server = raw(hello, tls=context, host=host)
    error = failure(live, server.url, tls=trusting)
    assert error.permanent
    assert "certificate is not trusted" in str(error)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_that_wants_a_client_certificate_gets_it_and_refuses_who_has_none(raw, live, authority, trusting, version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("server"))
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = version
    server = raw(hello, tls=context)
    error = failure(live, server.url, tls=trusting)
    if version is ssl.TLSVersion.TLSv1_2 or error.permanent:
        assert error.permanent
        assert "tls_cert" in str(error)
    else:  # with TLS 1.3 the refusal follows the client's half of the handshake, and a reset may overtake it
        assert "closed the connection" in str(error) or "reset" in str(error)
    trusting.load_cert_chain(authority.issue("client"))
    live(server.url, tls=trusting).wait()


def test_wss_to_a_port_that_speaks_no_tls_says_to_use_ws(raw, live, trusting):
    def script(peer):
        peer.sock.recv(1000)
        peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        peer.until_gone()

    error = failure(live, raw(script).url.replace("ws:", "wss:"), tls=trusting)
    assert error.permanent
    assert "expected ws:// instead of wss://?" in str(error)


def test_wss_to_a_foreign_plain_server_fails_and_does_not_hang(live, trusting):
    with foreign(lambda connection: connection.recv()) as server:
        error = failure(live, server.url.replace("ws:", "wss:"), tls=trusting)
        assert isinstance(error, ConnectFailed)


def test_ws_to_a_tls_port_fails_and_does_not_hang(raw, live, server_tls):
    error = failure(live, raw(hello, tls=server_tls).url.replace("wss:", "ws:"))
    assert isinstance(error, ConnectFailed)


def test_a_server_that_leaves_in_the_tls_handshake_is_tried_again(raw, live, trusting):
    error = failure(live, raw(lambda peer: peer.sock.recv(10)).url.replace("ws:", "wss:"), tls=trusting)
    assert not error.permanent


@pytest.mark.parametrize("stage", ["tls", "http"])
def test_stop_comes_back_within_a_second_from_the_middle_of_both_handshakes(raw, server_tls, trusting, stage):
    def script(peer):
        if stage == "http":
            peer.read_head()
        peer.until_gone()

    server = raw(script, tls=server_tls if stage == "http" else None)
    feed = feed_for(f"wss://127.0.0.1:{server.port}", tls=trusting).start()
    wait_until(lambda: server.peers and (stage == "tls" or server.peers[0].head.endswith(b"\r\n\r\n")))
    assert feed.state == ConnectionState.CONNECTING
    assert timed_stop(feed) < 4.0 < CONNECT_TIMEOUT_S
    assert feed.join(0)


def test_a_tls_connection_that_is_reset_is_an_event_and_tried_again(raw, live, server_tls, trusting):
    arrived = threading.Event()

    def script(peer):
        peer.shake()
        peer.send(frame(telemetry(0)) + frame(b"", length=500))
        arrived.wait(5)
        peer.reset()

    pause = Pause(most=1)
    feed = live(raw(script, tls=server_tls).url, tls=trusting, pause=pause).wait()
    arrived.set()
    wait_until(lambda: pause.asked)
    assert list(feed.events()["kind"]) == ["connect", "disconnect"]
    with pytest.raises(FeedTimeout) as raised:
        feed.wait(5, timeout=0)
    assert isinstance(raised.value.__cause__, ConnectFailed)
