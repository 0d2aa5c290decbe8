from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from ccwatch.errors import ConfigError
from ccwatch.feed.address import parse_url, redact

SECRET = "s3cr3t-w0rd"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://localhost:3000", ("ws://localhost:3000", "ws", "localhost", 3000, "/")),
        (" ws://LocalHost/ws/stream\n", ("ws://LocalHost/ws/stream", "ws", "localhost", 80, "/ws/stream")),
        ("wss://a.example/p?q=1#frag", ("wss://a.example/p", "wss", "a.example", 443, "/p?q=1")),
        ("ws://[::1]:8000/x", ("ws://[::1]:8000/x", "ws", "::1", 8000, "/x")),
        ("WS://h:1", ("ws://h:1", "ws", "h", 1, "/")),
    ],
)
def test_a_url_is_split_into_what_is_shown_and_where_to_go(url, expected):
    assert parse_url(url)[:5] == expected


@pytest.mark.parametrize(
    "url", ["", "localhost:3000", "ws://", "ws:///path", "ftp://h", "ws://h:99999", "ws://[::1", "ws://h:port", "//h:1"]
)
def test_what_is_no_websocket_url_is_refused_with_an_example(url):
    with pytest.raises(ConfigError, match=r"ws://localhost:3000"):
        parse_url(url)


def test_a_web_page_address_is_refused_with_the_scheme_to_use():
    with pytest.raises(ConfigError, match=r"http://localhost:3000 is a web page's address; expected ws://"):
        parse_url(f"http://user:{SECRET}@localhost:3000?token={SECRET}")


@pytest.mark.parametrize(
    "url",
    [
        f"http://u:{SECRET}@h/?t={SECRET}",
        f"gopher://u:{SECRET}@h/?t={SECRET}#{SECRET}",
        f"ws://u:{SECRET}/x@h:1",
        f"ws://u:{SECRET}#x@h:1",
        f"ws://u:{SECRET}@h:port/?t={SECRET}",
        f"ws://u:{SECRET}@[::1/?t={SECRET}",
    ],
)
def test_no_part_of_a_password_or_query_is_quoted_by_a_refusal(url):
    with pytest.raises(ConfigError) as raised:
        parse_url(url)
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is None


def test_an_address_shows_neither_userinfo_nor_query_and_knows_them_as_secrets():
    address = parse_url(f"ws://user:{SECRET}@h:1/p?token=t0k3n")
    for text in (repr(address), str(address), f"{address}", address.shown, repr([address])):
        assert SECRET not in text
        assert "t0k3n" not in text
        assert "user" not in text
    assert address.secrets == ("token=t0k3n", "t0k3n", SECRET)
    assert parse_url("ws://h:1/p").secrets == ()


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/?#@[]\\:%"), min_size=4))
def test_whatever_the_password_and_the_query_are_they_are_not_shown(secret):
    address = parse_url(f"ws://u:{secret}@host.example:1/path?{secret}")
    assert address.shown == "ws://host.example:1/path"
    assert redact(f"ws://u:{secret}@host.example:1/path?{secret}") == "ws://host.example:1/path"
