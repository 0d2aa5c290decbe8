"""The house rules, as tests: linters, types, layers, exports, what lies where, what the documents say."""

from __future__ import annotations

import ast
import io
import json
import pkgutil
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest

import ccwatch as cw
from ccwatch.cli.command_table import COMMANDS
from ccwatch.config import Settings
from ccwatch.protocol.columns import PACKETS, TABLES
from ccwatch.protocol.messages import Packet


def run(*command: str, root: Path) -> str:
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    return done.stdout


def tool(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def test_ruff_finds_nothing(root: Path) -> None:
    run(sys.executable, "-m", "ruff", "check", ".", root=root)


def test_the_formatter_would_change_nothing(root: Path) -> None:
    run(sys.executable, "-m", "ruff", "format", "--check", ".", root=root)


@pytest.mark.slow
def test_types_are_strict_and_hold(root: Path) -> None:
    run(sys.executable, "-m", "mypy", root=root)


@pytest.mark.slow
def test_imports_go_down_only(root: Path) -> None:
    run(tool("lint-imports"), "--no-cache", root=root)


@pytest.mark.slow
def test_a_room_is_asked_for_what_its_door_offers(root: Path) -> None:
    """Two threads that first import a room from its two ends, one by a module and one by the package, may see it half made."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in root.glob("ccwatch/**/*.py")}
    rooms = {
        path.parent.name
        for path, tree in trees.items()
        if path.parent.parent.name == "ccwatch" and path.name == "__init__.py" and _ours(tree)
    }
    assert rooms >= {"analysis", "dashboard", "recording"}
    ends = [
        f"{path.relative_to(root)}: {name}"
        for path, tree in trees.items()
        for name in _ours(tree)
        if name.count(".") > 1 and (room := name.split(".")[1]) in rooms and path.parent.name != room
    ]
    assert not ends


def _ours(tree: ast.Module) -> list[str]:
    """What a module imports of ccwatch when it runs."""
    guarded = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for node in ast.walk(block)
    }
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and id(node) not in guarded]
    return [node.module for node in imports if node.module and node.module.startswith("ccwatch.")]


def test_every_lint_exception_says_why(root: Path) -> None:
    bare = []
    for path in root.glob("ccwatch/**/*.py"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if re.search(r"# noqa: [A-Z0-9, ]+$", line) or re.search(r"# type: ignore\[[a-z-, ]+\]$", line) or re.search(r"# noqa$", line):
                bare.append(f"{path.name}:{number}")
    assert not bare


def test_the_top_level_holds_only_what_the_design_allows(root: Path) -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    top = {line.split("/")[0] for line in listed.stdout.splitlines()}
    allowed = {"pyproject.toml", "README.md", "ccwatch", "notebooks", "tests", "recordings", "LICENSE", "CHANGELOG.md"}
    assert {name for name in top if not name.startswith(".")} <= allowed


def test_every_exported_name_can_be_had_and_is_imported_for_type_checkers() -> None:
    source = Path(str(cw.__file__)).read_text(encoding="utf-8")
    for_checkers = {
        alias.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ccwatch.")
        for alias in node.names
    }
    exported = set(cw.__all__) - {"__version__"}
    assert exported == for_checkers
    assert all(getattr(cw, name) is not None for name in cw.__all__)
    with pytest.raises(AttributeError):
        cw.nothing_of_that_name  # noqa: B018 - the attribute is the test


def test_importing_ccwatch_imports_nothing_heavy() -> None:
    heavy = "pandas", "plotly", "ipywidgets", "pyarrow", "scipy", "aiohttp", "websocket"
    code = f"import sys, ccwatch; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_packet_has_the_columns_of_the_packets_table_in_their_order() -> None:
    assert tuple(column.field for column in PACKETS) == Packet._fields[: len(PACKETS)]


@pytest.mark.slow
def test_no_module_prints_but_the_command_line(root: Path) -> None:
    for path in root.glob("ccwatch/**/*.py"):
        calls = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
        printing = [n.lineno for n in calls if isinstance(n.func, ast.Name) and n.func.id == "print"]
        assert not printing, path


HOMES = {
    "IPython": {"dashboard"},
    "aiohttp": {"cottage"},
    "anywidget": {"dashboard"},
    "apprise": {"guard"},
    "click": {"cli"},
    "deltalake": {"archives"},
    "duckdb": {"archives"},
    "google_crc32c": {"protocol", "recording"},
    "jwt": {"cottage"},
    "lark": {"alerts"},
    "msgspec": {"alerts", "archives", "guard", "protocol", "recording"},
    "numpy": {"alerts", "analysis", "archives", "dashboard", "domain", "feed", "figures", "guard", "protocol", "recording", "stream"},
    "obstore": {"archives"},
    "orjson": {"protocol"},
    "pandas": {
        "alerts",
        "analysis",
        "api",
        "archives",
        "assistant",
        "cli",
        "dashboard",
        "feed",
        "figures",
        "guard",
        "recording",
        "stream",
        "wiring.py",
    },
    "plotly": {"analysis", "archives", "dashboard", "figures"},  # analysis and dashboard hand plotly's JavaScript to a page
    "mcap": {"recording"},
    "prometheus_client": {"cottage", "guard"},
    "polars": {"stream"},
    "pyarrow": {"archives", "recording", "stream"},
    "redis": {"cottage"},
    "rich": {"cli"},
    "scipy": {"analysis", "archives"},
    "traitlets": {"dashboard"},
    "websocket": {"feed"},
}
"""The rooms in which each third party lives: a package that is not listed may live nowhere."""


@pytest.mark.slow
def test_third_parties_stay_in_their_homes(root: Path) -> None:
    found: dict[str, set[str]] = {}
    for path in root.glob("ccwatch/**/*.py"):
        for party in _imported(ast.parse(path.read_text(encoding="utf-8"))) - sys.stdlib_module_names - {"ccwatch"}:
            found.setdefault(party, set()).add(path.relative_to(root / "ccwatch").parts[0])
    assert found.keys() == HOMES.keys()
    strangers = {party: rooms - HOMES[party] for party, rooms in found.items() if rooms - HOMES[party]}
    assert not strangers


def test_every_third_party_is_a_dependency_that_is_declared(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [*project["dependencies"], *(line for lines in project["optional-dependencies"].values() for line in lines)]
    names = {re.split(r"[<>=;\[ ]", line)[0].lower().replace("-", "_") for line in declared}
    distributions = {
        "jwt": "pyjwt",
        "websocket": "websocket_client",
        "traitlets": "ipywidgets",
        "IPython": "ipywidgets",
    }  # parts of its interface
    assert {distributions.get(party, party) for party in HOMES} <= names


def _imported(tree: ast.Module) -> set[str]:
    """The packages that a module imports, wherever it does."""
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
    return {name.split(".")[0] for name in names}


@pytest.mark.slow
def test_no_test_reaches_into_private_names_of_another_room(root: Path) -> None:
    """What is private to a room may change without a word to the tests of the others."""
    private = {room: _private_names(root.glob(f"ccwatch/{room}/**/*.py")) for room in _rooms(root)}
    reached = []
    for room, names in private.items():
        foreign = set().union(*(theirs for other, theirs in private.items() if other != room))
        mine = names | _private_names(root.glob(f"tests/{room}/**/*.py"), defined=True)
        for path in root.glob(f"tests/{room}/**/*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                attributes = [node.attr] if isinstance(node, ast.Attribute) else []
                attributes += [alias.name for alias in node.names] if isinstance(node, ast.ImportFrom) else []
                reached += [f"{path.relative_to(root)}:{node.lineno} {name}" for name in attributes if name in foreign - mine]
    assert not reached


PUBLIC = {"_asdict", "_fields", "_make", "_replace", "_exit"}
"""Public for all their underscore: of named tuples, so that no field clashes with them, and `os._exit`."""


def _rooms(root: Path) -> list[str]:
    return [path.name for path in (root / "ccwatch").iterdir() if (path / "__init__.py").is_file()]


def _private_names(paths: Iterable[Path], *, defined: bool = False) -> set[str]:
    """The private names of these modules: all that occur, or those alone that are assigned or defined there."""
    found: set[str] = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Attribute | ast.Name) and (not defined or isinstance(node.ctx, ast.Store)):
                found.add(node.attr if isinstance(node, ast.Attribute) else node.id)
    return {name for name in found if name.startswith("_") and not name.startswith("__")} - PUBLIC


@pytest.mark.slow
def test_tests_of_a_module_lie_at_its_own_path(root: Path) -> None:
    """A test file is named after a module or a room at its own path, or it is one of a room as a whole, which says so in its head."""
    strays = []
    for room in _rooms(root):
        for path in root.glob(f"tests/{room}/**/test_*.py"):
            inside = path.relative_to(root / "tests").parent
            name = path.stem.removeprefix("test_")
            module = root / "ccwatch" / inside / f"{name}.py"
            tree = ast.parse(path.read_text(encoding="utf-8"))
            if not module.is_file() and not ast.get_docstring(tree):
                strays.append(str(path.relative_to(root)))
    assert not strays


LONG_MODULE, LONG_FUNCTION = 430, 60


def test_a_long_module_or_function_says_why_it_is_one(root: Path) -> None:
    """Some 400 lines a module and 60 lines of code a function, beside its docstring; a longer one has its reason: "Long, since …"."""
    long = []
    for path in root.glob("ccwatch/**/*.py"):
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        if len(text.splitlines()) > LONG_MODULE and "Long, since" not in (ast.get_docstring(tree) or ""):
            long.append(f"{path.relative_to(root)}: {len(text.splitlines())} lines")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
                lines = text.splitlines()[node.lineno - 1 : node.end_lineno]
                if int(node.end_lineno or 0) - first.lineno >= LONG_FUNCTION and not any("long, since" in line.lower() for line in lines):
                    long.append(f"{path.relative_to(root)}: {node.name}, {int(node.end_lineno or 0) - first.lineno + 1} lines")
    long += [
        f"{path.relative_to(root)}: {count} lines"
        for path in root.glob("ccwatch/dashboard/page/*.js")
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > LONG_MODULE
    ]
    assert not long


# ── what is said is so ─────────────────────────────────────────────────────────────────────────────────────────────────


GUIDE = ".github/guide"


@pytest.fixture
def readme(root: Path) -> str:
    return (root / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def documents(root: Path) -> dict[Path, str]:
    """The README and the pages of the guide, by path."""
    paths = [root / "README.md", *sorted((root / GUIDE).glob("*.md"))]
    return {path: path.read_text(encoding="utf-8") for path in paths}


def test_the_readme_is_short_and_links_each_page_of_the_guide_once(root: Path, readme: str) -> None:
    assert len(readme.splitlines()) <= 140
    linked = re.findall(rf"\]\({re.escape(GUIDE)}/([\w-]+\.md)\)", readme)
    assert sorted(linked) == sorted(path.name for path in (root / GUIDE).glob("*.md"))


def test_the_guide_tells_of_every_command(root: Path) -> None:
    page = (root / GUIDE / "command-line.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `ccwatch (\w+)", page, flags=re.MULTILINE))
    assert listed == set(COMMANDS)


def test_the_guide_tells_of_every_setting_with_its_default(root: Path) -> None:
    page = (root / GUIDE / "settings.md").read_text(encoding="utf-8")
    defaults = dict(re.findall(r"^\| `CCWATCH_(\w+)`, `\w+` \| ([^|]*)\|", page, flags=re.MULTILINE))
    settings = Settings()
    assert {name.lower() for name in defaults} == set(vars(settings))
    for name, default in defaults.items():
        value = getattr(settings, name.lower())
        if value is not None:
            assert str(value) in default


def test_the_documents_python_compiles_and_its_names_exist(documents: dict[Path, str]) -> None:
    for path, text in documents.items():
        for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "cw":
                    assert hasattr(cw, node.attr), f"{path.name}: {node.attr}"


def test_what_documents_link_and_show_exists(documents: dict[Path, str]) -> None:
    for path, text in documents.items():
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
            assert "://" in target or (path.parent / target).exists(), f"{path.name}: {target}"


def test_each_stop_of_the_walks_exists(root: Path) -> None:
    """A walk from the socket to Parquet, to a pixel and to the report helps only while its stops are where it says."""
    walks = (root / ".github" / "ARCHITECTURE.md").read_text(encoding="utf-8").partition("## 5.")[2]
    stops = re.findall(r"`((?:[a-z_]+\.)+[A-Za-z_.]+)`", walks.replace("page/", ""))
    scripts = re.findall(r"`page/(\w+\.js)` \(((?:`\w+`(?:, )?)+)\)", walks)
    assert len(stops) > 20
    assert len(scripts) > 4
    for stop in (stop for stop in stops if not stop.endswith(".js")):
        assert pkgutil.resolve_name(f"ccwatch.{stop}")
    for script, names in scripts:
        text = (root / "ccwatch" / "dashboard" / "page" / script).read_text(encoding="utf-8")
        assert all(re.search(rf"^  {name}\(.*\{{$", text, re.MULTILINE) for name in re.findall(r"\w+", names)), script


@pytest.mark.slow
def test_what_a_docstring_refers_to_exists(root: Path) -> None:
    """No tool follows a name in backticks when a module or a function is renamed."""
    texts = {path: path.read_text(encoding="utf-8") for path in root.glob("ccwatch/**/*.py")}
    own = {
        path: {token.string for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type == tokenize.NAME}
        for path, text in texts.items()
    }
    modules = {part for path in texts for part in (path.stem, path.parent.name)}
    everywhere = modules.union(*own.values())
    referred = [(path, name) for path, text in texts.items() for name in re.findall(r"\b[Ss]ee (?:the module )?`([\w.]+)`", text)]
    assert len(referred) > 50
    assert not [
        (path.name, name)
        for path, name in referred
        if not (everywhere.issuperset(name.split(".")) if "." in name else name in own[path] | modules)
    ]


BANNED = re.compile(r"(?<![a-z])(anew|untold|told|tells?|nobody|whoever|one's own|stands?(?! by\b| out\b|-))(?![a-z])", re.IGNORECASE)
"""Words that mean several things here, or are read twice by those whose second language is English; as parts of names too."""
WORDS_WITH_A_REASON = {
    "README.md": {"told"},  # "be told" names a row of the first screen, and a section
    "ccwatch/analysis/lexicon.py": {"stand"},  # words of the engine's agents
    "ccwatch/guard/daybook.py": {"told"},  # names in the guard's state on disk, which stay
    "ccwatch/guard/guard.py": {"told"},
    "ccwatch/guard/state.py": {"told"},
}
BARE = {"What", "Whatever", "Who", "Whoever"}
NO_VERB = BARE | {"A", "An", "How", "It", "Nothing", "The", "There", "This", "When", "Where", "Whether", "Which", "Whose"}


def _prose(root: Path) -> Iterable[tuple[str, str]]:
    """Yield the code and the documents by path; of notebooks their sources, not their outputs."""
    listed = ["README.md", "CHANGELOG.md", ".github/**/*.md", "ccwatch/**/*.py", "ccwatch/**/*.js", "ccwatch/**/*.css", "notebooks/*.py"]
    for path in (path for pattern in listed for path in root.glob(pattern)):
        yield path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")
    for path in root.glob("notebooks/*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        yield path.relative_to(root).as_posix(), "\n".join("".join(cell["source"]) for cell in cells)


def test_names_messages_and_documents_use_plain_words(root: Path) -> None:
    found = [
        f"{name}:{number}: {match[0]}"
        for name, text in _prose(root)
        for number, line in enumerate(text.splitlines(), 1)
        for match in BANNED.finditer(line)
        if match[0].lower() not in WORDS_WITH_A_REASON.get(name, ())
    ]
    assert not found


@pytest.mark.slow
def test_docstrings_begin_with_a_verb_and_none_with_a_bare_what(root: Path) -> None:
    found = []
    for path in root.glob("ccwatch/**/*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        texts = [(text, NO_VERB) for node in functions if (text := ast.get_docstring(node))]
        texts += [
            (node.value.value, BARE) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        ]
        firsts = [(str(text).strip().partition(" ")[0].rstrip(".,:;"), str(text), words) for text, words in texts]
        found += [f"{path.relative_to(root)}: {text.splitlines()[0]}" for first, text, words in firsts if first in words]
    assert not found


def test_nothing_committed_names_a_path_of_a_machine_or_a_host_of_a_package_registry(root: Path) -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    forbidden = re.compile(
        "|".join(["/ho" + "me/", "/wo" + "rk/", "/ro" + "ot/", "py" + r"pi\.org", "npm" + r"js\.(org|com)", "python" + "hosted"])
    )
    for name in listed.stdout.splitlines():
        path = root / name
        if path.suffix in {".py", ".md", ".toml", ".js", ".css", ".ipynb", ".json", ".cfg", ""} and path.is_file():
            found = forbidden.search(path.read_text(encoding="utf-8", errors="replace"))
            assert found is None, f"{name}: {found and found[0]}"


def test_the_wheel_ships_every_notebook_and_picture(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    shipped = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"])
    listed = subprocess.run(["git", "ls-files", "notebooks"], cwd=root, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    assert {name for name in listed.stdout.splitlines() if name.endswith((".ipynb", ".py"))} <= shipped


def test_notebooks_carry_no_widget_state_and_no_foreign_metadata(root: Path) -> None:
    for path in (root / "notebooks").glob("*.ipynb"):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        assert "widgets" not in notebook["metadata"], path
        assert "widget-view" not in path.read_text(encoding="utf-8"), path


def test_every_table_has_one_time_column_and_it_is_the_first() -> None:
    assert all(columns[0].name == "time" and columns[0].dtype == "time" for columns in TABLES.values())
