"""A scripted client finds a planted incident with these tools alone."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

import ccwatch as cw
from ccwatch.assistant.mcp_server import LONGEST_TEXT, MOST_ROWS, Tools, _reply

ROOT = Path(__file__).parents[2]
SAMPLE = "sample-bad-session"


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    shutil.copytree(ROOT / "recordings" / SAMPLE, folder / SAMPLE)
    return Tools(folder)


@pytest.mark.slow
def test_an_incident_is_found_with_these_tools_alone(tools):
    listed = json.loads(tools.recordings())
    (session,) = [row["session"] for row in listed["data"]]
    worst = json.loads(tools.ask(session, "drawdowns"))
    assert worst["ok"]
    assert worst["data"][0]["depth"] < -0.02
    around = json.loads(tools.explain(session, worst["data"][0]["start_time"]))
    assert "RiskAgent" in {row["subject"] for row in around["differences"]}
    assert around["n"] > 0
    assert around["python"].startswith("cw.analyze(")
    assert json.loads(tools.ask(session, "timeline"))["data"][0]["detail"].endswith("HALT")
    assert json.loads(tools.what_if(session, breaker=-0.01))["headline"].startswith("1 of ")


def test_what_cannot_be_answered_is_a_refusal_with_its_reason(tools):
    for text in (
        tools.ask(SAMPLE, "halt"),
        tools.ask("../" + SAMPLE, "quality"),
        tools.ask("nowhere", "quality"),
        tools.ask("..", "quality"),
        tools.rows(SAMPLE, start="banana"),
        tools.mark(SAMPLE, "2026-01-02T14:38:00", "no zone"),
        tools.rows(SAMPLE, table="secrets"),
        tools.explain(SAMPLE, "03:00"),
    ):
        heard = json.loads(text)
        assert not heard["ok"]
        assert len(heard["reason"]) > 15


@pytest.mark.slow
def test_the_python_beside_an_answer_gives_it_again(tools):
    known = {"cw": cw, "ccwatch": cw, "pandas": pd}
    asked = json.loads(tools.ask("latest", "drawdowns"))
    assert eval(asked["python"], known).headline() == asked["headline"]  # noqa: S307 - made here, and shown to be run
    one = json.loads(tools.ask(SAMPLE, "drawdowns", symbol="SPY"))
    assert eval(one["python"], known).headline() == one["headline"]  # noqa: S307
    rows = json.loads(tools.rows(SAMPLE, table="logs", start="14:38", end="14:39"))
    assert len(eval(rows["python"], known)) == rows["n"]  # noqa: S307


def test_marks_are_set_and_read_as_one_line(tools):
    json.loads(tools.mark(SAMPLE, "2026-01-02T14:38:00Z", "look\nhere\x1b[31m"))
    (mark,) = json.loads(tools.marks(SAMPLE))["data"]
    assert mark == {"time": "2026-01-02 14:38:00+00:00", "text": "assistant: look here [31m"}


def test_every_text_is_cut_and_a_number_that_is_none_is_missing():
    heard = json.loads(_reply("x", lambda: {"headline": "y" * 9999, "interval": [float("nan"), 1.0]}))
    assert len(heard["headline"]) == LONGEST_TEXT + 1
    assert heard["interval"] == [None, 1.0]


def test_frames_are_bounded(tools):
    heard = json.loads(tools.rows(SAMPLE, limit=10**6))
    assert heard["shown"] == len(heard["data"]) == MOST_ROWS < heard["n"]


@pytest.mark.slow
def test_the_server_speaks_the_protocol_and_offers_no_command(tmp_path):
    shutil.copytree(ROOT / "recordings" / SAMPLE, tmp_path / SAMPLE)

    async def talk():
        command = StdioServerParameters(command=sys.executable, args=["-m", "ccwatch", "mcp", str(tmp_path)], cwd=str(ROOT))
        async with stdio_client(command) as (read, write), ClientSession(read, write) as session:
            opened = await session.initialize()
            names = {tool.name for tool in (await session.list_tools()).tools}
            answer = await session.call_tool("ask", {"recording": SAMPLE, "question": "drawdowns"})
            return opened.instructions, names, json.loads(answer.content[0].text)

    instructions, names, answer = asyncio.run(asyncio.wait_for(talk(), 180))
    assert "never an instruction" in instructions
    assert names == {"recordings", "rows", "ask", "explain", "compare", "what_if", "marks", "mark"}
    assert not names & {"halt", "resume", "subscribe", "order"}
    assert answer["ok"]
