from __future__ import annotations

import html
import re

import pytest

import ccwatch as cw
from ccwatch.dashboard.dashboard import Dashboard

WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def feed():
    with cw.synthetic(seed=2, scenario="drawdown-halt", packets=300, pace="max") as running:
        running.join(30)
        yield running


def bundle(dashboard) -> dict[str, object]:
    made = dashboard._repr_mimebundle_()
    return made[0] if isinstance(made, tuple) else made


def account(feed) -> set[str]:
    """What a leak would look like: the account's numbers, as any of our pictures write them."""
    newest = feed.frame().iloc[-1]
    return {f"{newest[name]:{form}}" for name in ("nav", "cash") for form in (",.2f", ",.0f", ".0f")} | {f"{newest['max_drawdown']:.2%}"}


def test_beside_the_widget_stands_a_picture_of_the_market_alone_and_the_remedy(feed, monkeypatch):
    for name in ("JPY_SESSION_NAME", "VSCODE_PID"):
        monkeypatch.delenv(name, raising=False)
    with cw.watch(feed) as shown:
        found = bundle(shown)
        assert next(iter(found)) == WIDGET or WIDGET in found
        text = str(found["text/html"])
        assert "ccwatch doctor --lab" in text
        assert "price (USD)" in text
        assert "SYNTHETIC" in text
        for word in ("nav (", "drawdown (", "BUY", "SELL", *account(feed)):
            assert word not in re.sub(r"nav included", "", text), word


@pytest.mark.parametrize("name", ["JPY_SESSION_NAME", "VSCODE_PID"])
def test_where_a_page_runs_the_kernel_nothing_of_the_stream_is_saved_beside_the_widget(feed, monkeypatch, name):
    monkeypatch.setenv(name, "a notebook")
    with cw.watch(feed) as shown:
        text = str(bundle(shown)["text/html"])
        assert "<svg" not in text
        assert "ccwatch doctor --lab" in text


@pytest.mark.parametrize(
    ("variables", "named", "helps"),
    [
        ({}, "a kernel without a page", "Open it in JupyterLab"),
        ({"JPY_SESSION_NAME": "x"}, "run in Jupyter.", "pip install 'ccwatch[lab]' where Jupyter runs"),
        ({"JPY_SESSION_NAME": "x", "JUPYTERHUB_USER": "ann"}, "JupyterHub", "restart that server from the hub"),
        ({"VSCODE_PID": "7"}, "VS Code", "jupyter.widgetScriptSources"),
    ],
)
def test_the_card_names_the_home_it_is_in_and_what_helps_there(feed, monkeypatch, variables, named, helps):
    for name in ("JPY_SESSION_NAME", "VSCODE_PID", "JUPYTERHUB_USER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with cw.watch(feed) as shown:
        text = html.unescape(str(bundle(shown)["text/html"]))
    assert named in text
    assert helps in text


def test_a_still_that_was_asked_for_is_an_image_of_all_panels(feed, tmp_path):
    with cw.watch(feed, panels=["nav", "drawdown"]) as shown:
        still = shown.still()
        assert "nav (USD)" in still.svg
        assert "drawdown (%)" in still.svg
        assert "SYNTHETIC" in still.svg
        assert still._repr_svg_() == still.svg
        assert still.save(tmp_path / "view.svg").read_text(encoding="utf-8") == still.svg
        assert "#e6e8eb" in shown.still(dark=True).svg, "the dark theme's ink"


def test_what_the_stream_says_of_itself_is_escaped_in_the_card(view):
    view.name = "<img src=x onerror=alert(1)>"
    with Dashboard(view) as shown:
        assert "<img" not in str(bundle(shown)["text/html"])


def test_a_view_that_cannot_be_read_still_shows_its_widget(view, monkeypatch):
    with Dashboard(view) as shown:
        monkeypatch.setattr(view, "frame", lambda *_: 1 / 0)
        found = bundle(shown)
        assert WIDGET in found
        assert "ccwatch doctor" in str(found["text/html"])


def test_a_terminal_shows_the_state_and_what_to_do(feed):
    with cw.watch(feed) as shown:
        assert "ENDED" in repr(shown)
        assert "to_html" in repr(shown)


def test_a_panel_that_fails_takes_no_picture_from_the_others(feed, tmp_path):
    def broken(_frame):
        raise ZeroDivisionError

    with cw.watch(feed, panels=["price", broken]) as shown:
        assert "price (USD)" in shown.still()._repr_svg_()
        assert shown.to_html(tmp_path / "page.html").stat().st_size > 100_000


@pytest.mark.parametrize(("dark", "paper"), [(False, "#fff"), (True, "#111")])
def test_a_picture_has_its_own_paper_so_that_a_page_of_the_other_theme_shows_it(dark, paper, feed):
    first = re.findall(r"<rect[^>]*>", cw.watch(feed).still(dark=dark).svg)[0]
    assert first == f'<rect width="100%" height="100%" rx="4" fill="{paper}"/>'
