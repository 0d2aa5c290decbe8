"""The page's JavaScript: its types, its lint, its own tests, and how it is joined."""

from __future__ import annotations

import base64
import gzip
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ccwatch.dashboard.bundle import join, pack
from ccwatch.dashboard.widget import PageWidget

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "ccwatch" / "dashboard" / "page"
pytestmark = [pytest.mark.node]


@pytest.fixture(scope="module")
def npm() -> str:
    """npm, with what tests/page/package.json asks for installed."""
    found = shutil.which("npm")
    required = "node" in os.environ.get("CCWATCH_REQUIRE", "")
    if found is None:
        (pytest.fail if required else pytest.skip)("no npm on the PATH")
    if not (HERE / "node_modules" / ".bin" / "tsc").exists():
        if not required:
            pytest.skip("npm install in tests/page brings the checkers")
        options = ("--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error")
        subprocess.run([found, "install", *options], cwd=HERE, check=True, timeout=300, capture_output=True)
    return found


def run(*command: str) -> None:
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


@pytest.mark.slow
def test_the_types_of_the_page_are_strict_and_hold(npm: str) -> None:
    run(npm, "run", "--silent", "types")


@pytest.mark.slow
def test_the_linter_finds_nothing_in_the_page(npm: str) -> None:
    run(npm, "run", "--silent", "lint")


@pytest.mark.slow
def test_thinning_stores_and_messages_do_what_they_say() -> None:
    if shutil.which("node") is None:
        pytest.skip("no node on the PATH")
    run("node", "--test", *(str(path) for path in sorted(HERE.glob("*.test.js"))))


@pytest.mark.skipif("CCWATCH_FULL" not in os.environ, reason="an expensive proof: CCWATCH_FULL=1 runs it (5 min)")
def test_a_change_of_any_line_of_the_modules_that_thin_and_store_is_noticed() -> None:
    done = subprocess.run(["node", "mutate.js"], cwd=HERE, capture_output=True, text=True, check=False, timeout=1800)
    assert done.returncode == 0, done.stdout[-6000:]


def test_the_joined_page_is_one_module_without_imports() -> None:
    joined = join(PAGE / "main.js")
    assert pack(joined) == PageWidget._esm
    assert "\nimport " not in joined
    assert joined.count("\nexport default ") == 1
    assert joined.index("class Rows") < joined.index("class Thinning") < joined.index("class View")
    every = {path.name for path in PAGE.glob("*.js")}
    assert {name for name in every if f"// {name}\n" in joined} == every, "no module lies about unused"


def test_the_packed_page_holds_every_letter_of_the_joined_one_in_a_third_of_its_bytes() -> None:
    joined = join(PAGE / "main.js")
    packed = pack(joined)
    found = re.search(r'atob\("([^"]+)"\)', packed)
    assert found is not None
    assert gzip.decompress(base64.b64decode(found[1])).decode() == f"{joined}//# sourceURL=ccwatch-page.js\n"
    assert len(packed) < len(joined) / 2
    assert packed.count("\nexport default ") == 1


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ('import { two } from "./b.js";\nexport default two;\n', "export const one = 1;\n", "does not export 'two'"),
        ('import { one } from "./b.js";\nconst two = 1;\nexport default two;\n', "export const one = 1;\nconst two = 2;\n", "'two' is"),
        ('import one from "./b.js";\nexport default one;\n', "export default 1;\n", "cannot be joined"),
        ('import { one as two } from "./b.js";\nexport default two;\n', "export const one = 1;\n", "does not export"),
        ('import { one } from "./b.js";\nexport default one;\n', "export const one = 1;\nexport { one as two };\n", "cannot be joined"),
        ('import { one } from "./b.js";\nexport default one;\n', "export const one = 1;\nexport default 2;\n", "cannot be joined"),
    ],
)
def test_what_cannot_be_joined_is_refused(tmp_path: Path, a: str, b: str, said: str) -> None:
    (tmp_path / "a.js").write_text(a)
    (tmp_path / "b.js").write_text(b)
    with pytest.raises(ValueError, match=said):
        join(tmp_path / "a.js")


def test_a_module_comes_after_what_it_imports_and_its_comments_stay_behind(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text('/** Two. */\nimport { one } from "./b.js";\nexport default /** @type {number} */ (one);\n')
    (tmp_path / "b.js").write_text("/**\n * One.\n */\nexport const one = 1;\n")
    assert join(tmp_path / "a.js") == "// b.js\nconst one = 1;\n\n// a.js\nexport default /** @type {number} */ (one);\n"
