from __future__ import annotations

import itertools
import json

import pytest

from ccwatch.cottage import Cottage
from ccwatch.cottage.cottage_options import Options
from ccwatch.feed.synthetic import SyntheticSource, messages


def first(count, **arguments):
    return list(itertools.islice(messages(**arguments), count))


@pytest.fixture
def rested(until, rest):
    """A Cottage whose stream of 25 packets has been played."""
    with Cottage(SyntheticSource(seed=3, packets=25, pace="max")) as cottage:
        last = json.loads(first(25, seed=3)[-1])["data"]["timestamp"]
        until(lambda: rest(cottage.engine_url, "/api/system/state/current")[1].get("timestamp") == last)
        yield cottage


def test_rest_answers_hold_the_last_state_in_its_three_parts(rested, rest):
    data = json.loads(first(25, seed=3)[-1])["data"]
    agents, models = data.pop("agents"), data.pop("models")
    assert rest(rested.engine_url, "/api/system/state/current") == (200, data)
    assert rest(rested.engine_url, "/api/system/metrics/agents") == (200, agents)
    assert rest(rested.engine_url, "/api/system/metrics/models") == (200, models)


def test_before_any_state_the_routes_answer_as_deployed_engines_do(rest):
    source = SyntheticSource(packets=1, pace="max")
    with Cottage(source, Options(start_on_first_client=True)) as cottage:
        assert rest(cottage.engine_url, "/api/system/state/current") == (200, {"error": "No state available", "status": "offline"})
        assert rest(cottage.engine_url, "/api/system/metrics/agents") == (200, {})
        assert rest(cottage.engine_url, "/api/system/metrics/models") == (200, {})


@pytest.mark.parametrize("path", ["/ws/stream", "/api/ws/stream"])
def test_a_new_client_is_replayed_the_last_ten_states(rested, ws, path):
    client = ws(rested.engine_url.removesuffix("/ws/stream") + path)
    assert [client.recv(timeout=5).encode() for _ in range(10)] == first(25, seed=3)[-10:]
    assert client.ping().wait(5)
    with pytest.raises(TimeoutError):
        client.recv(timeout=0)


def test_what_is_malformed_is_streamed_but_never_shown_as_a_state(rest, ws):
    expected = first(31, scenario="malformed")
    assert not expected[-1].endswith(b"}}"), "the last message is the malformed one"
    with Cottage(SyntheticSource(scenario="malformed", packets=31, pace="max"), Options(start_on_first_client=True)) as cottage:
        client = ws(cottage.engine_url)
        assert [client.recv(timeout=5).encode() for _ in range(31)] == expected
        late = ws(cottage.engine_url)
        assert [late.recv(timeout=5).encode() for _ in range(10)] == expected[20:30]
        state = json.loads(expected[29])["data"]
        assert rest(cottage.engine_url, "/api/system/state/current")[1]["timestamp"] == state["timestamp"]
        assert json.loads(ws(cottage.url).recv(timeout=5))["data"] == state


def test_other_paths_are_not_found(rested, rest):
    assert rest(rested.engine_url, "/api/system/../../etc/passwd")[0] == 404
    assert rest(rested.engine_url, "/")[0] == 404
