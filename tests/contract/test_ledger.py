"""The ledger of the contract is whole: no line is missing, none is stale, none is waved through, and every proof exists."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract import proofs
from tests.contract.contract import LINES, PATH, SHA256
from tests.contract.ledger import LEDGER, Line, counts
from tests.contract.proofs import Owed

SIDES = ("client", "server")
NAMED = {proof for line in LEDGER for side in SIDES for proof in line.proofs(side) if isinstance(proof, str)}


def test_the_contract_here_is_the_agreed_one_byte_for_byte():
    assert hashlib.sha256(PATH.read_bytes()).hexdigest() == SHA256


def test_the_ledger_has_every_line_of_the_contract_in_its_order_and_no_other():
    for number, (line, text) in enumerate(zip(LEDGER, LINES, strict=False), start=1):
        assert line.text == text, f"line {number} of those that are not empty"
    assert len(LEDGER) == len(LINES)


def stating() -> list[tuple[int, str]]:
    """The lines that state a behaviour by their form: rows of tables, items, code with a word in it, and labels with a value."""
    found, language = [], None
    for number, text in enumerate(LINES):
        if text.startswith("```"):
            language = None if language is not None else text.removeprefix("```")
        elif language is not None:
            punctuation = language == "mermaid" and text in {"sequenceDiagram", "end"}
            if re.search(r"\w", text) and not punctuation:
                found.append((number, text))
        else:
            is_row = text.startswith("|") and not text.startswith(("|--", "| Field ", "| Metric "))
            if is_row or re.match(r"- |\d\. |\*\*[^*]+:\*\* \S", text):
                found.append((number, text))
    return found


def test_no_line_that_states_a_behaviour_passes_for_context():
    waved_through = [text for number, text in stating() if LEDGER[number].is_context]
    assert waved_through == []


def test_every_line_that_binds_somebody_states_a_behaviour():
    numbers = {number for number, _ in stating()}
    assert [line.text for number, line in enumerate(LEDGER) if not line.is_context and number not in numbers] == []


@pytest.mark.slow
def test_every_test_that_the_ledger_names_exists(root: Path, request: pytest.FixtureRequest):
    missing = NAMED - {item.nodeid.partition("[")[0] for item in request.session.items}
    files = sorted({test.partition("::")[0] for test in missing})
    if not files:
        return  # this run has them all
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files]
    quick = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=root, env=quick, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    collected = {line.partition("[")[0] for line in done.stdout.splitlines() if "::" in line}
    assert sorted(missing - collected) == []


def test_every_test_of_the_contract_proves_a_line_of_it(root: Path):
    """Those of the ledger itself aside; so that a proof whose line was mapped elsewhere is not forgotten."""
    here = {
        f"tests/contract/{path.name}::{name}"
        for path in (root / "tests/contract").glob("test_*.py")
        if path.name != Path(__file__).name
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert len(here) > 30
    assert sorted(here - NAMED) == []


def test_every_proof_that_has_a_name_is_behind_a_line():
    named = {value for name, value in vars(proofs).items() if name.isupper() and not name.startswith("_")}
    used = {proof for line in LEDGER for side in SIDES for proof in line.proofs(side)}
    assert named == used


def test_what_is_owed_says_what_and_to_which_work():
    for owed in {proof for line in LEDGER for side in SIDES for proof in line.proofs(side) if isinstance(proof, Owed)}:
        assert owed.what
        assert owed.work


def test_the_counts_add_up():
    found = counts()
    for side in SIDES:
        assert found[f"{side} proven"] + found[f"{side} owed"] == sum(bool(line.proofs(side)) for line in LEDGER)
    both = sum(bool(line.client and line.server) for line in LEDGER)
    bound = sum(found[f"{side} {state}"] for side in SIDES for state in ("proven", "owed"))
    assert found["lines"] == found["context"] + bound - both == len(LINES)


@pytest.mark.parametrize("line", [Line("x", client="a"), Line("x", server=("a", Owed("b", "c")))])
def test_a_line_with_a_proof_on_either_side_is_no_context(line):
    assert not line.is_context
    assert Line("x").is_context
