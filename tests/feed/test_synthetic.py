from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import subprocess
import sys
import threading
import time

import pytest

from ccwatch.errors import ConfigError
from ccwatch.feed import scenarios, seeded_engine
from ccwatch.feed.scenarios import SCENARIOS, planted
from ccwatch.feed.synthetic import SyntheticSource, messages
from ccwatch.protocol.messages import ConnectionState, Event, EventKind, Flag, Packet, StateChange
from ccwatch.stream.source import Stop

GOLDEN = "c9676924df3f34c5161352efd8b3b35dffb39a099f609fc158836acfeddae35f"
SEEDS = (0, 1, 7, 12345)


def first(count, **arguments):
    return list(itertools.islice(messages(**arguments), count))


def states(count, **arguments):
    return [json.loads(raw)["data"] for raw in first(count, **arguments)]


class Kept:
    """A sink that keeps what it gets."""

    def __init__(self):
        self.items = []

    def receive(self, items):
        self.items.extend(items)

    def of(self, kind):
        return [item for item in self.items if isinstance(item, kind)]


def play(source):
    kept = Kept()
    source.stream(kept, Stop())
    return kept


# ── bytes ──


def digest(raws):
    return hashlib.sha256(b"\n".join(raws)).hexdigest()


def test_the_first_hundred_packets_of_seed_seven_never_change():
    assert digest(first(100, seed=7)) == GOLDEN


@pytest.mark.slow
def test_another_process_makes_the_same_bytes():
    program = (
        "import hashlib, itertools; from ccwatch.feed.synthetic import messages;"
        "print(hashlib.sha256(b'\\n'.join(itertools.islice(messages(seed=7), 100))).hexdigest())"
    )
    run = subprocess.run([sys.executable, "-c", program], env=os.environ | {"PYTHONHASHSEED": "99"}, capture_output=True, check=True)
    assert run.stdout.decode().strip() == GOLDEN


def test_seed_scenario_and_rate_each_make_another_stream():
    streams = {
        digest(first(150, seed=seed, scenario=scenario, rate=rate))
        for seed, scenario, rate in itertools.product((1, 2), ("calm", "slow-agent"), (1.0, 50.0))
    }
    assert len(streams) == 8


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_packet_has_two_to_five_kilobytes(scenario):
    for seed in SEEDS:
        sizes = [
            len(raw) for raw in first(400, seed=seed, scenario=scenario) if raw.startswith(b'{"type":"TELEMETRY"') and raw.endswith(b"}}")
        ]
        assert len(sizes) > 300
        assert min(sizes) >= 2048
        assert max(sizes) <= 5120


@pytest.mark.slow
def test_no_number_needs_an_exponent_which_encoders_write_differently():
    for raw in first(1500, seed=3):
        body = json.loads(raw)
        assert json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() == raw


def test_packets_carry_exactly_the_fields_of_the_contract():
    message = json.loads(first(1)[0])
    assert message["type"] == "TELEMETRY"
    data = message["data"]
    assert list(data) == ["timestamp", "status", "market", "portfolio", "signal", "governance", "logs", "agents", "models"]
    assert list(data["market"]) == ["symbol", "price", "alpha", "regime", "velocity", "acceleration"]
    assert list(data["portfolio"]) == ["nav", "cash", "daily_pnl", "max_drawdown"]
    assert list(data["signal"]) == ["side", "confidence", "reasoning"]
    assert list(data["governance"]) == ["approved_size"]
    assert all(list(line) == ["level", "message", "timestamp"] for line in data["logs"])
    assert len(data["logs"]) == 10
    assert len(data["agents"]) == 6
    assert all(list(gauges) == ["latency_ms", "success_rate", "invocations"] for gauges in data["agents"].values())
    assert len(data["models"]) == 3
    assert all(list(gauges) == ["latency_ms", "invocations", "cache_hit_rate"] for gauges in data["models"].values())


def test_timestamps_start_at_the_agreed_time_and_advance_by_one_over_the_rate():
    stamps = [state["timestamp"] for state in states(4, rate=3.0)]
    assert stamps == ["2026-01-02T14:30:00Z", "2026-01-02T14:30:00.333333Z", "2026-01-02T14:30:00.666667Z", "2026-01-02T14:30:01Z"]


# ── the world ──


@pytest.mark.parametrize("seed", SEEDS)
def test_six_hundred_packets_show_all_three_regimes_mostly_gaussian_and_critical_least(seed):
    regimes = [state["market"]["regime"] for state in states(600, seed=seed)]
    gaussian, levy, critical = (regimes.count(word) for word in ("Gaussian", "Lévy Stable", "Critical"))
    assert gaussian > levy > critical > 0
    assert gaussian > 300


def test_alpha_lies_on_its_regimes_side_of_the_cut_offs():
    for state in states(1500, seed=5):
        alpha = state["market"]["alpha"]
        expected = "Critical" if alpha < 1.5 else "Lévy Stable" if alpha < 2.0 else "Gaussian"
        assert state["market"]["regime"] == expected


@pytest.mark.slow
def test_returns_are_wilder_the_less_gaussian_the_regime():
    moves = {"Gaussian": [], "Lévy Stable": [], "Critical": []}
    for before, after in itertools.pairwise(states(6000, seed=2)):
        moves[after["market"]["regime"]].append(abs(after["market"]["price"] - before["market"]["price"]))
    mean = {regime: sum(sizes) / len(sizes) for regime, sizes in moves.items()}
    assert mean["Gaussian"] < mean["Lévy Stable"] < mean["Critical"]
    assert max(moves["Lévy Stable"]) > 8 * mean["Lévy Stable"], "tails are heavy"
    assert max(moves["Gaussian"]) < 6 * mean["Gaussian"], "and here they are not"


def test_velocity_and_acceleration_are_those_of_a_kalman_filter_over_the_price():
    seen = states(400, seed=4)
    # The textbook's matrices, beside the written-out scalars of the package.
    f, h, g = ((1, 1, 0.5), (0, 1, 1), (0, 0, 1)), 0, (0.5, 1, 1)
    x, q, r = None, 2e-5, 0.05
    p = [[r, 0, 0], [0, 0.01, 0], [0, 0, 0.001]]
    market = seeded_engine.Market(seeded_engine.Noise(4))
    x = [market.cents / 100, 0.0, 0.0]
    for state in seen:
        x = [sum(f[i][j] * x[j] for j in range(3)) for i in range(3)]
        fp = [[sum(f[i][k] * p[k][j] for k in range(3)) for j in range(3)] for i in range(3)]
        p = [[sum(fp[i][k] * f[j][k] for k in range(3)) + q * g[i] * g[j] for j in range(3)] for i in range(3)]
        gain = [p[i][h] / (p[h][h] + r) for i in range(3)]
        surprise = state["market"]["price"] - x[h]
        x = [x[i] + gain[i] * surprise for i in range(3)]
        p = [[p[i][j] - gain[i] * p[h][j] for j in range(3)] for i in range(3)]
        assert state["market"]["velocity"] == pytest.approx(x[1], abs=6e-5)
        assert state["market"]["acceleration"] == pytest.approx(x[2], abs=6e-5)


@pytest.mark.parametrize("scenario", ["calm", "drawdown-halt"])
def test_max_drawdown_is_the_running_drawdown_of_nav(scenario):
    peak, worst = 100_000.0, 0.0
    for state in states(800, seed=6, scenario=scenario):
        nav = state["portfolio"]["nav"]
        peak = max(peak, nav)
        worst = min(worst, nav / peak - 1)
        assert state["portfolio"]["max_drawdown"] == pytest.approx(worst, abs=5.1e-5)
    assert worst < -0.0003


def test_nav_is_cash_and_whole_shares_at_the_price_and_pnl_counts_from_the_start():
    held = set()
    for state in states(800, seed=8):
        portfolio = state["portfolio"]
        shares = (portfolio["nav"] - portfolio["cash"]) / state["market"]["price"]
        assert shares == pytest.approx(round(shares), abs=1e-6)
        held.add(round(shares))
        assert portfolio["daily_pnl"] == pytest.approx(portfolio["nav"] - 100_000.0, abs=0.005)
    assert min(held) < 0 < max(held), "it was long and short"


def test_a_position_moves_with_side_and_approved_size():
    for state in states(800, seed=8):
        exposure = (state["portfolio"]["nav"] - state["portfolio"]["cash"]) / state["portfolio"]["nav"]
        sign = {"BUY": 1, "SELL": -1, "FLAT": 0}[state["signal"]["side"]]
        assert exposure == pytest.approx(sign * state["governance"]["approved_size"], abs=0.012)


@pytest.mark.slow
def test_governance_approves_at_most_a_fifth_and_vetoes_everything_in_critical():
    seen = states(2000, seed=9)
    assert all(0 <= state["governance"]["approved_size"] <= 0.20 for state in seen)
    critical = [state for state in seen if state["market"]["regime"] == "Critical"]
    assert any(state["signal"]["side"] != "FLAT" for state in critical), "a veto of nothing proves nothing"
    assert all(state["governance"]["approved_size"] == 0 for state in critical)
    assert any("Physics Veto" in line["message"] for state in critical for line in state["logs"])
    assert any(state["governance"]["approved_size"] > 0.1 for state in seen)


def test_signals_persist_and_are_explained():
    seen = states(1000, seed=10)
    sides = [state["signal"]["side"] for state in seen]
    assert set(sides) == {"BUY", "SELL", "FLAT"}
    changes = sum(a != b for a, b in itertools.pairwise(sides))
    assert 5 <= changes <= 60
    assert all(0 <= state["signal"]["confidence"] <= 1 for state in seen)
    assert all(len(state["signal"]["reasoning"].split()) > 8 for state in seen)


@pytest.mark.slow
def test_success_rates_are_successes_over_invocations_which_only_grow():
    before = {}
    for state in states(1000, seed=11):
        for name, gauges in (state["agents"] | state["models"]).items():
            rate = gauges.get("success_rate", gauges.get("cache_hit_rate"))
            good = rate * gauges["invocations"]
            assert good == pytest.approx(round(good), abs=0.01)
            calls, successes = before.get(name, (0, 0))
            assert gauges["invocations"] >= calls
            assert round(good) >= successes
            assert gauges["latency_ms"] > 0
            before[name] = gauges["invocations"], round(good)
    assert all(calls > 1000 for calls, _ in before.values())


def test_logs_are_a_sliding_window_in_the_order_of_their_times():
    for before, after in itertools.pairwise(states(600, seed=12)):
        new = next(i for i in range(11) if before["logs"][i:] == after["logs"][: 10 - i])
        assert all(line["timestamp"] == after["timestamp"] for line in after["logs"][10 - new :])


@pytest.mark.slow
def test_ten_thousand_packets_stay_in_the_contracts_ranges():
    kept = play(SyntheticSource(seed=13, packets=10_000, pace="max"))
    packets = kept.of(Packet)
    assert len(packets) == 10_000
    assert all(packet.flags == 0 for packet in packets)
    assert all(200 < packet.price < 900 for packet in packets)
    assert packets[-1].max_drawdown > -0.02, "calm is calm"


# ── what is planted ──


def truth(scenario, rate=1.0):
    return {incident.kind: incident for incident in planted(scenario, rate)}


def test_an_unknown_scenario_is_refused_with_the_names_of_the_known_ones():
    for ask in (lambda: planted("calmer"), lambda: messages(scenario="calmer"), lambda: SyntheticSource(scenario="calmer")):
        with pytest.raises(ConfigError, match="calm, regime-flip, slow-agent, drawdown-halt"):
            ask()


def test_calm_has_nothing_planted():
    assert planted("calm") == ()


def test_planted_times_are_packet_numbers_over_the_rate():
    assert truth("slow-agent", 1.0)["slow-agent"].start_s == 120.0
    assert truth("slow-agent", 4.0)["slow-agent"].start_s == 30.0
    assert truth("slow-agent", 4.0)["slow-agent"].end_s == 60.0


def test_a_planted_gap_is_long_enough_to_be_one_at_any_rate():
    for rate in (0.5, 1.0, 50.0, 1000.0):
        gap = truth("gap", rate)["gap"]
        assert gap.end_s - gap.start_s >= 15.0


@pytest.mark.parametrize("seed", SEEDS)
def test_planted_regimes_hold_in_the_bytes(seed):
    seen = states(500, seed=seed, scenario="regime-flip")
    incidents = planted("regime-flip")
    assert incidents[0].start_s == 0
    assert incidents[-1].end_s == math.inf
    for n, state in enumerate(seen):
        (current,) = [i for i in incidents if i.start_s <= n < i.end_s]
        assert current.detail.startswith(state["market"]["regime"])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_slow_agent_is_slow_exactly_while_it_is_planted(seed):
    incident = truth("slow-agent")["slow-agent"]
    seen = states(400, seed=seed, scenario="slow-agent")
    usual = seeded_engine.AGENTS["RiskAgent"]
    latencies = [state["agents"]["RiskAgent"]["latency_ms"] for state in seen]
    during = sorted(latencies[int(incident.start_s) : int(incident.end_s)])
    outside = latencies[: int(incident.start_s)] + latencies[int(incident.end_s) + 10 :]  # it reports its last call
    assert during[len(during) // 2] > 6 * usual
    assert max(outside) < 4 * usual
    assert any(line["message"].startswith("RiskAgent: slow call") for line in seen[200]["logs"])
    others = [state["agents"]["MacroAgent"]["latency_ms"] for state in seen]
    assert max(others) < 4 * seeded_engine.AGENTS["MacroAgent"]


@pytest.mark.parametrize("seed", range(12))
def test_a_planted_drawdown_passes_two_percent_with_the_packet_that_halts(seed):
    incidents = truth("drawdown-halt")
    seen = states(400, seed=seed, scenario="drawdown-halt")
    halt = int(incidents["halt"].start_s)
    assert incidents["drawdown"].start_s < halt < incidents["drawdown"].end_s
    assert incidents["halt"].end_s == math.inf
    assert {state["status"] for state in seen[:halt]} == {"ACTIVE"}
    assert {state["status"] for state in seen[halt:]} == {"HALT"}
    assert seen[halt - 1]["portfolio"]["max_drawdown"] > scenarios.HALT_LIMIT >= seen[halt]["portfolio"]["max_drawdown"]
    assert {(s["signal"]["side"], s["governance"]["approved_size"], s["portfolio"]["nav"]) for s in seen[halt:]} == {
        ("FLAT", 0.0, seen[halt]["portfolio"]["nav"])
    }
    assert any("trading is halted" in line["message"] and line["level"] == "ERROR" for line in seen[halt]["logs"])


def test_a_planted_gap_leaves_its_packets_out_and_the_feed_calls_it_a_gap():
    gap = truth("gap")["gap"]
    whole, holed = first(300, seed=1), first(200, seed=1, scenario="gap")
    assert holed == whole[: int(gap.start_s)] + whole[int(gap.end_s) :][: 200 - int(gap.start_s)]
    kept = play(SyntheticSource(seed=1, scenario="gap", packets=200, pace="max"))
    assert [event.kind for event in kept.of(Event)] == [EventKind.CONNECT, EventKind.GAP]


def test_a_planted_freeze_repeats_the_state_under_moving_timestamps_and_the_feed_calls_it_frozen():
    frozen = truth("frozen")["frozen"]
    kept = play(SyntheticSource(seed=1, scenario="frozen", packets=200, pace="max"))
    marked = [n for n, packet in enumerate(kept.of(Packet)) if packet.flags & Flag.FROZEN]
    assert marked == list(range(int(frozen.start_s), int(frozen.end_s)))
    assert EventKind.FROZEN in {event.kind for event in kept.of(Event)}


@pytest.mark.slow
def test_a_skewed_clock_is_ahead_exactly_while_it_is_planted():
    skew = truth("clock-skew")["clock-skew"]
    for n, (plain, skewed) in enumerate(zip(states(150), states(150, scenario="clock-skew"), strict=True)):
        if skew.start_s <= n < skew.end_s:
            assert skewed["timestamp"] == states(n + 91)[-1]["timestamp"]
            assert skewed | {"timestamp": plain["timestamp"]} == plain
        else:
            assert skewed == plain


def test_planted_malformed_messages_take_the_place_of_a_packet_and_none_of_them_can_be_placed():
    places = [int(incident.start_s) for incident in planted("malformed")]
    assert len(places) >= 4
    kept = play(SyntheticSource(scenario="malformed", packets=200, pace="max"))
    assert [event.kind for event in kept.of(Event)] == [EventKind.CONNECT] + [EventKind.MALFORMED] * len(places)
    plain = first(200)
    mangled = first(200, scenario="malformed")
    assert [n for n in range(200) if plain[n] != mangled[n]] == places
    assert all(raw.decode() for raw in mangled), "invalid UTF-8 would end a WebSocket connection"


def test_planted_duplicates_are_sent_twice_and_the_feed_calls_them_repeats():
    double = truth("duplicate")["duplicate"]
    kept = play(SyntheticSource(scenario="duplicate", packets=150, pace="max"))
    packets = kept.of(Packet)
    repeats = [packet for packet in packets if packet.flags & Flag.REPEAT]
    assert len(repeats) == double.end_s - double.start_s
    assert [packet.raw for packet in packets if not packet.flags & Flag.REPEAT] == first(150 - len(repeats))


# ── the source ──


def test_a_source_delivers_the_messages_byte_for_byte_after_it_has_opened():
    kept = play(SyntheticSource(seed=3, rate=20.0, packets=200, pace="max"))
    assert isinstance(kept.items[0], Event)
    assert [change.state for change in kept.of(StateChange)] == [ConnectionState.OPEN], "an ended stream just returns"
    packets = kept.of(Packet)
    assert [packet.raw for packet in packets] == first(200, seed=3, rate=20.0)
    assert [packet.seq for packet in packets] == list(range(1, 201))


def test_a_source_can_be_played_again_from_its_beginning():
    source = SyntheticSource(seed=3, packets=50, pace="max")
    assert [packet.raw for packet in play(source).of(Packet)] == [packet.raw for packet in play(source).of(Packet)]


def test_wall_pace_keeps_its_schedule_even_when_its_sink_dawdles():
    class Dawdler(Kept):
        def receive(self, items):
            super().receive(items)
            time.sleep(0.004)  # the work of a slow sink, not a wait for something

    latest = []
    for _ in range(3):  # a machine may pause during one of them
        kept = Dawdler()
        start = time.monotonic_ns()
        SyntheticSource(rate=100.0, packets=60).stream(kept, Stop())
        due = [start + n * 10_000_000 for n in range(60)]
        early = [packet.received_mono_ns - moment for packet, moment in zip(kept.of(Packet), due, strict=True)]
        assert min(early) >= 0
        latest.append(min(early[40:]))
        if latest[-1] < 120_000_000:
            break
    assert min(latest) < 120_000_000, "by then, delays that add up would be 160 ms; a busy machine's are caught up with"


@pytest.mark.parametrize("pace", ["wall", "max"])
def test_a_stream_without_end_returns_soon_after_it_is_asked_to_stop(pace):
    stop, begun = Stop(), threading.Event()

    class Bell:
        def receive(self, items):
            if any(isinstance(item, Packet) for item in items):
                begun.set()

    thread = threading.Thread(target=SyntheticSource(rate=0.01, pace=pace).stream, args=(Bell(), stop))
    thread.start()
    assert begun.wait(5)
    asked = time.monotonic()
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert time.monotonic() - asked < 5


@pytest.mark.slow
def test_a_planted_gap_on_the_wall_clock_makes_the_stream_late():
    stop, late = Stop(), threading.Event()

    class Bell:
        def receive(self, items):
            if any(isinstance(item, StateChange) and item.state is ConnectionState.LATE for item in items):
                late.set()

    thread = threading.Thread(target=SyntheticSource(scenario="gap", rate=400.0).stream, args=(Bell(), stop))
    thread.start()
    assert late.wait(20)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    "arguments",
    [
        {"rate": 0},
        {"rate": -1.0},
        {"rate": math.nan},
        {"rate": math.inf},
        {"rate": "1"},
        {"rate": True},
        {"packets": 0},
        {"packets": 1.5},
        {"packets": True},
        {"pace": "fast"},
        {"seed": -1},
        {"seed": 1.0},
        {"seed": "7"},
    ],
)
def test_arguments_that_cannot_be_used_are_refused_by_name(arguments):
    (name,) = arguments
    with pytest.raises(ConfigError, match=f"^{name}: expected"):
        SyntheticSource(**arguments)


@pytest.mark.parametrize("scenario", ["calm", "drawdown-halt@100"])
def test_the_fills_fit_cash_and_nav_to_the_cent(scenario):
    shares, cash = 0, 10_000_000
    seen = 0
    for raw in itertools.islice(messages(seed=7, scenario=scenario), 600):
        state = json.loads(raw)["data"]
        for fill in state.get("trades", ()):
            seen += 1
            bought = fill["quantity"] if fill["side"] == "BUY" else -fill["quantity"]
            shares += bought
            cash -= round(bought * fill["price"] * 100)
            assert (fill["status"], fill["order_id"]) == (state["execution_status"], state["order_id"])
        assert round(state["portfolio"]["cash"] * 100) == cash
        assert round(state["portfolio"]["nav"] * 100) == cash + shares * round(state["market"]["price"] * 100)
    assert seen >= 5
