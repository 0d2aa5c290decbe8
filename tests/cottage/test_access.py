"""Who may watch and who may command: the rules alone, and at a Cottage whose clients come through a proxy that it trusts."""

from __future__ import annotations

import base64
import json
import logging
import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.exceptions import ConnectionClosed, InvalidStatus

import ccwatch as cw
from ccwatch.cottage import Cottage
from ccwatch.cottage.access import AccessRules, Gate, Grant, Pace, Refusal
from ccwatch.cottage.cottage_options import Options
from ccwatch.errors import ConfigError, Unauthorized
from ccwatch.feed.synthetic import SyntheticSource

SECRET = "correct horse battery staple, and then some"
RULES = AccessRules(secret=SECRET, proxies=("127.0.0.1",), origins=("https://dash.example",))
LIFETIME_S = 6 * 3600  # many are made when the suite is collected, and judged at its end
FAR = "203.0.113.9"


def token(secret=SECRET, algorithm="HS256", **claims):
    return jwt.encode({"aud": "ccwatch", "exp": time.time() + LIFETIME_S, "role": "command"} | claims, secret, algorithm=algorithm)


def unsigned():
    parts = ({"alg": "none", "typ": "JWT"}, {"aud": "ccwatch", "exp": time.time() + LIFETIME_S, "role": "command"})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


def without(claim):
    claims = {"aud": "ccwatch", "exp": time.time() + LIFETIME_S}
    del claims[claim]
    return jwt.encode(claims, SECRET, algorithm="HS256")


def judge(rules=RULES, peer=FAR, **headers):
    return Gate(rules).judge(peer, {name.replace("_", "-"): value for name, value in headers.items()})


def bearing(text):
    return {"Sec_WebSocket_Protocol": f"token, {text}"}


def read_on(client):
    while True:
        client.recv(timeout=10)


# ── tokens ──


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (token(exp=time.time() - 60), "the token has expired"),
        (token(exp=10**400), "not valid"),
        (token(exp=10**30), "exp is no time"),
        (token(exp=float("inf")), "not valid"),
        (token(exp=float("nan")), "not valid"),
        (token(exp=-(10**400)), "has expired"),
        (token(exp="soon"), "not valid"),
        (token(exp=str(int(time.time()) + 86_400)), "exp is no time"),
        (token(nbf=True), "nbf is no time"),
        (token(iat=-5), "iat is no time"),
        (token(nbf=10**400), "not valid"),
        (token(secret="another key, which is just as long as the first"), "not valid"),
        (unsigned(), "not valid"),
        (token(algorithm="HS512", secret=SECRET * 2), "not valid"),
        (token(aud="elsewhere"), "another audience"),
        (token(nbf=time.time() + 86_400), "not valid"),
        (without("aud"), "has no aud|another audience"),
        (without("exp"), "has no exp"),
        ("a.b.c", "not valid"),
        ("x" * 5000, "not valid"),
    ],
)
def test_a_token_that_does_not_hold_is_refused_with_401_and_a_reason(text, reason):
    found = judge(**bearing(text))
    assert isinstance(found, Refusal)
    assert found.status == 401
    assert re.search(reason, found.reason)
    assert text not in found.reason


def test_a_strangers_request_without_a_token_is_refused():
    assert judge() == Refusal(401, "a token is needed: Sec-WebSocket-Protocol: token, <JWT>, or Authorization: Bearer <JWT>")


@pytest.mark.parametrize("headers", [bearing(token()), {"Authorization": f"Bearer {token()}"}])
def test_a_good_token_is_taken_from_the_contracts_header_and_from_https_own(headers):
    found = judge(**headers)
    assert isinstance(found, Grant)
    assert found.may_command
    assert "token=" not in repr(found)


@pytest.mark.parametrize(("claims", "may"), [({"role": "command"}, True), ({"role": "watch"}, False), ({"role": "watch", "x": 1}, False)])
def test_a_role_says_whether_its_bearer_may_command(claims, may):
    assert judge(**bearing(token(**claims))).may_command is may


def test_without_a_role_a_token_is_for_watching_and_an_unknown_one_is_refused():
    plain = jwt.encode({"aud": "ccwatch", "exp": time.time() + LIFETIME_S}, SECRET, algorithm="HS256")
    assert not judge(**bearing(plain)).may_command
    assert judge(**bearing(token(role="root"))).status == 403


def test_this_machine_needs_no_token_but_a_bad_one_is_refused_even_there():
    rules = AccessRules(secret=SECRET)
    assert judge(rules, "127.0.0.1").may_command
    assert judge(rules, "::1").may_command
    assert judge(rules, "::ffff:127.0.0.1").may_command
    assert judge(rules, "127.0.0.1", **bearing("a.b.c")).status == 401


# ── addresses ──


@pytest.mark.parametrize("header", [{"X_Forwarded_For": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"}])
@pytest.mark.parametrize("rules", [AccessRules(secret=SECRET), AccessRules()])
def test_what_comes_through_a_proxy_that_nobody_named_is_not_taken_for_local(rules, header):
    assert judge(rules, "127.0.0.1", **header).status == 401


@pytest.mark.parametrize(
    ("peer", "forwarded", "ip"),
    [
        ("127.0.0.1", FAR, FAR),
        ("127.0.0.1", f"127.0.0.1, {FAR}", FAR),
        ("127.0.0.1", f"198.51.100.7, {FAR}, 127.0.0.1", FAR),
        (FAR, "198.51.100.7", FAR),
        ("127.0.0.1", "not an address", "127.0.0.1"),
    ],
)
def test_of_forwarded_addresses_the_first_stranger_from_our_side_counts(peer, forwarded, ip):
    assert judge(peer=peer, X_Forwarded_For=forwarded, **bearing(token())).ip == ip


# ── origins ──


@pytest.mark.parametrize("origin", ["http://evil.example", "https://dash.example.evil", "http://dash.example", "null", "http://["])
def test_a_foreign_origin_is_refused_with_403_whatever_its_token(origin):
    assert judge(Origin=origin, **bearing(token())).status == 403


@pytest.mark.parametrize(
    ("host", "may"),
    [
        ("localhost:3000", True),
        ("127.0.0.1", True),
        ("[::1]:8000", True),
        ("dash.example", True),
        ("0.0.0.0:80", True),
        ("evil.example:3000", False),
        ("", False),
        ("a b[", False),
    ],
)
def test_a_page_whose_own_name_leads_to_this_machine_is_refused(host, may):
    grant = judge(replace(RULES, proxies=()), "127.0.0.1", Host=host)
    assert isinstance(grant, Grant) == may
    assert may or grant.status == 403


@pytest.mark.parametrize("origin", ["https://dash.example", "https://dash.example:443", "http://localhost:8888", "http://[::1]:1"])
def test_named_and_local_origins_may_watch_and_command(origin):
    assert judge(Origin=origin, **bearing(token())).may_command


def test_with_any_origin_a_foreign_page_may_watch_and_never_command():
    found = judge(AccessRules(origins=("*",)), "127.0.0.1", Origin="http://evil.example")
    assert (found.may_command, found.why_not) == (False, "commands from a foreign origin are refused")


# ── rules ──


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"secret": "short"}, "secret: expected at least 32 bytes, got 5"),
        ({"per_ip": 0}, "per_ip: expected"),
        ({"origins": ("dash.example",)}, "origins: expected"),
        ({"origins": ("https://b\u00f6rse.example",)}, "xn--"),
        ({"messages_per_s": float("nan")}, "above zero"),
        ({"proxies": ("10.0.0.1/8",)}, "proxies: expected"),
        ({"burst": 0}, "messages_per_s and burst"),
    ],
)
def test_rules_that_cannot_be_used_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        AccessRules(**arguments)


def test_rules_do_not_show_their_secret():
    assert SECRET not in repr(RULES)


def test_a_pace_allows_a_burst_and_no_more_at_once():
    pace = Pace(AccessRules(messages_per_s=0.001, burst=5))
    assert [pace.allows() for _ in range(7)] == [True] * 5 + [False] * 2


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:8888", True),
        ("https://LOCALHOST", True),
        ("http://[::1]:8888", True),
        ("http://localhost@evil.example", False),
        ("http://evil.example@localhost", False),
        ("http://localhost:8888/", False),
        ("http://localhost?x", False),
        ("http://localhost#x", False),
        ("http://evil.example\\@localhost", False),
        ("chrome-extension://localhost", False),
        ("file://localhost", False),
        ("ftp://localhost", False),
        ("http://localhost:99999", False),
        ("http://localhost:", False),
        ("http://localhost.", False),
        ("http://\uff4cocalhost", False),
        ("https://localhost, https://localhost", False),
        ("null", False),
        ("", False),
    ],
)
def test_an_origin_is_scheme_host_and_port_and_nothing_else(origin, allowed):
    assert Gate(AccessRules()).allows_origin(origin) is allowed


# ── at a Cottage ──


@pytest.fixture
def guarded():
    with Cottage(SyntheticSource(rate=50.0), Options(access=RULES)) as cottage:
        yield cottage


def test_the_answer_selects_token_and_never_the_jwt_and_nothing_of_it_is_logged(guarded, raw, caplog):
    caplog.set_level(logging.DEBUG)
    mine = token()
    for text in (mine, "aaa.FORGED.zzz"):
        _, head = raw(guarded.engine_url, f"Sec-WebSocket-Protocol: token, {text}", f"X-Forwarded-For: {FAR}")
        assert text not in head
        assert text not in caplog.text
        assert head.startswith("HTTP/1.1 101" if text is mine else "HTTP/1.1 401")
    _, head = raw(guarded.engine_url, f"Sec-WebSocket-Protocol: {mine}")
    assert head.startswith("HTTP/1.1 400")
    assert mine not in caplog.text


@pytest.mark.parametrize("text", [None, "forged.forged.forged", unsigned(), token(exp=time.time() - 60), token(aud="elsewhere")])
def test_no_expired_forged_unsigned_and_misaddressed_tokens_get_401_on_every_route_and_both_sites(guarded, ws, rest, post, text):
    headers = {"X-Forwarded-For": FAR} | ({"Authorization": f"Bearer {text}"} if text else {})
    for url in (guarded.url, guarded.engine_url):
        with pytest.raises(InvalidStatus) as refused:
            ws(url, additional_headers=headers)
        assert refused.value.response.status_code == 401
        for path in ("/metrics", "/health", "/api/health", "/api/system/state/current"):
            assert rest(url, path, **headers)[0] == 401
        assert post(url, "/api/system/halt", **headers)[0] == 401


def test_a_watcher_may_watch_and_is_closed_with_1008_when_it_commands(guarded, ws, post, metric):
    headers = {"X-Forwarded-For": FAR, "Authorization": f"Bearer {guarded.token('watch')}"}
    client = ws(guarded.engine_url, additional_headers=headers)
    client.recv(timeout=5)
    client.send('{"type":"SUBSCRIBE","symbol":"AAPL"}')
    assert client.ping().wait(5), "the symbol of its own view is its own business"
    client.send('{"type":"HALT"}')
    with pytest.raises(ConnectionClosed) as closed:
        read_on(client)
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "the token's role is watch; command is needed")
    status, text = post(guarded.engine_url, "/api/system/halt", **headers)
    assert (status, json.loads(text)) == (403, {"error": "the token's role is watch; command is needed"})
    assert metric(guarded, 'ccwatch_commands_total{command="HALT",outcome="refused",site="engine"}') == 2


def test_a_feed_with_a_token_of_the_right_role_halts(guarded):
    with cw.connect(guarded.url, token=lambda: guarded.token("command"), commands=True) as feed:
        feed.wait()
        assert feed.halt(confirm="HALT").confirmed


def test_a_feed_with_a_bad_token_learns_that_it_will_not_go_away(guarded):
    with cw.connect(guarded.url, token="a.b.c") as feed, pytest.raises(Unauthorized):
        feed.wait()


def test_a_connection_ends_with_its_token(ws):
    rules = AccessRules(secret=SECRET, proxies=("127.0.0.1",))
    with Cottage(SyntheticSource(rate=50.0), Options(access=rules)) as cottage:
        short = token(exp=time.time() - 1)  # within the leeway of 5 s, so that a slow machine still connects in time
        client = ws(cottage.engine_url, subprotocols=["token", short], additional_headers={"X-Forwarded-For": FAR})
        with pytest.raises(ConnectionClosed) as closed:
            read_on(client)
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "the token has expired")


def test_the_eleventh_connection_of_an_address_is_refused_with_429_until_one_leaves(ws, until):
    with Cottage(SyntheticSource(rate=50.0)) as cottage:
        clients = [ws(cottage.engine_url) for _ in range(10)]
        with pytest.raises(InvalidStatus) as refused:
            ws(cottage.engine_url)
        assert refused.value.response.status_code == 429
        assert refused.value.response.headers["Retry-After"] == "5"
        assert clients[0].recv(timeout=5), "the others are served"
        assert ws(cottage.url).recv(timeout=5), "the other site counts for itself"
        clients[0].close()

        def again():
            try:
                return ws(cottage.engine_url)
            except InvalidStatus:
                return None

        assert until(again)


def test_addresses_behind_a_named_proxy_are_counted_one_by_one(guarded, ws):
    for last in range(3):
        headers = {"X-Forwarded-For": f"203.0.113.{last}", "Authorization": f"Bearer {token()}"}
        for _ in range(4):
            ws(guarded.engine_url, additional_headers=headers)


def test_any_origin_reproduces_the_contracts_cors_and_still_refuses_commands(ws, rest, post, raw):
    foreign = "http://evil.example"
    with Cottage(SyntheticSource(rate=50.0), Options(access=AccessRules(origins=("*",)))) as cottage:
        assert ws(cottage.url, origin=foreign).recv(timeout=5)
        _, head = raw(cottage.url, f"Origin: {foreign}")
        assert "Access-Control-Allow-Origin: *" in head
        assert post(cottage.url, "/api/system/halt", Origin=foreign)[0] == 403
        client = ws(cottage.engine_url, origin=foreign)
        client.send('{"type":"HALT"}')
        with pytest.raises(ConnectionClosed) as closed:
            read_on(client)
        assert closed.value.rcvd.code == 1008
        assert rest(cottage.engine_url, "/api/system/status")[1]["status"] == "ACTIVE"


def test_a_proxys_own_line_behind_a_clients_counts_and_no_header_counts_twice(raw):
    rules = AccessRules(secret=SECRET, proxies=("127.0.0.1",))
    with Cottage(SyntheticSource(), Options(access=rules)) as cottage:
        for headers in (
            ("X-Forwarded-For: 127.0.0.1", f"X-Forwarded-For: {FAR}"),
            ("X-Forwarded-For: ::1", f"X-Forwarded-For: {FAR}"),
            ("Forwarded: for=203.0.113.9",),
        ):
            assert " 401 " in raw(cottage.engine_url, *headers)[1]
        assert " 403 " in raw(cottage.engine_url, "Origin: http://localhost", "Origin: http://localhost")[1]


def test_a_page_of_a_named_origin_may_ask_by_rest(raw):
    with Cottage(SyntheticSource(), Options(access=AccessRules(origins=("https://dash.example",)))) as cottage:
        _, head = raw(cottage.engine_url, "Origin: https://dash.example")
        assert "Access-Control-Allow-Origin: https://dash.example" in head
        assert "Vary: Origin" in head


def test_a_public_bind_without_a_secret_refuses_to_start_and_with_one_listens(rest):
    with pytest.raises(ConfigError, match="needs a secret"):
        cw.serve(host="0.0.0.0")
    with cw.serve(host="0.0.0.0", secret=SECRET) as cottage:
        assert rest(cottage.url.replace("0.0.0.0", "127.0.0.1"), "/health")[0] == 200


def test_over_tls_both_sites_speak_wss_and_a_feed_that_trusts_them_watches_and_halts(tmp_path, monkeypatch):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    unlocked = serialization.NoEncryption()
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unlocked))
    monkeypatch.setenv("CCWATCH_TLS_CA", str(cert_file))
    with cw.serve(rate=50, host="localhost", tls_cert=str(cert_file), tls_key=str(key_file)) as cottage:
        assert cottage.url.startswith("wss://")
        with cw.connect(cottage.url.replace("127.0.0.1", "localhost"), commands=True) as feed:
            feed.wait(3)
            assert feed.halt(confirm="HALT").confirmed
