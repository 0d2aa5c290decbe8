"""What pandas takes text for, which its option `future.infer_string` says, changes no answer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from ccwatch.protocol.columns import PACKETS

SAMPLE = Path(__file__).parents[2] / "recordings" / "sample-bad-session"

ASK = """
import json, sys, warnings
import pandas as pd
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the option is deprecated where it still exists
    pd.set_option("future.infer_string", sys.argv[1] == "text")
import ccwatch as cw

with cw.synthetic(seed=3, scenario="drawdown-halt+slow-agent+gap", packets=900, pace="max") as feed:
    feed.join(timeout=60)
    frame = feed.frame(sys.argv[3].split(","))
    reports = {"recording": cw.analyze(sys.argv[2]), "feed": cw.analyze(feed), "frame": cw.analyze(frame)}
    words = frame.drop(columns=["seq"]).assign(**{name: [str(word) for word in frame[name]] for name in ("regime", "side", "symbol")})
    reports["words"] = cw.analyze(words)
    plan = frame[["nav"]] * 1.001
    moments = dict.fromkeys(reports, frame.index[600]) | {"recording": cw.open_recording(sys.argv[2]).frame().index[200]}
    told = {}
    for name, report in reports.items():
        told[name] = report.to_dict() | {"source": ""}
        asked = {"reasoning": (), "first_sign": (), "explain": (moments[name],), "against": (plan,)}
        for question, given in asked.items():
            try:
                told[name][question] = getattr(report, question)(*given).to_dict()
            except cw.AnalysisError as error:
                told[name][question] = repr(error)
        told[name]["what_if"] = report.what_if(size_cap=0.05, delay=0).to_dict()
        told[name]["tables"] = report.to_markdown()
    told["compared"] = cw.compare(reports["recording"], reports["feed"]).to_dict()
    print(json.dumps(told))
"""


def answers(option: str) -> dict:
    names = ",".join(column.name for column in PACKETS if column.name != "time")
    command = [sys.executable, "-c", ASK, option, str(SAMPLE), names]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif("infer_string" not in dir(pd.options.future), reason="this pandas always infers text")
def test_no_answer_depends_on_whether_pandas_infers_text():
    text, objects = answers("text"), answers("objects")
    assert text.keys() == objects.keys() == {"recording", "feed", "frame", "words", "compared"}
    assert objects.pop("compared") == text.pop("compared")
    for source, heard in text.items():
        for question, answer in heard["answers"].items():
            assert objects[source]["answers"][question] == answer, (source, question)
        assert objects[source] == heard, source
