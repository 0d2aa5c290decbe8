"""Joins the page's ES modules into the one module that a widget needs. Plain text in, plain text out: no Node, no minifier.

Modules are put one after the other, each after its imports, without their import and export words; so every top-level name must be
unique. That, and that no import renames anything, is checked when they are joined.
"""

from __future__ import annotations

import base64
import gzip
import re
from pathlib import Path
from typing import Final

_IMPORT: Final = re.compile(r'^import \{([^}]*)\} from "\./([\w-]+\.js)";\n', re.MULTILINE)
_EXPORT: Final = re.compile(r"^export (?=(?:async )?(?:const|let|function|class) )", re.MULTILINE)
_EXPORTED: Final = re.compile(r"^export (?:async )?(?:const|let|function|class) (\w+)", re.MULTILINE)
_TOP: Final = re.compile(r"^(?:export )?(?:async )?(?:const|let|function|class) (\w+)", re.MULTILINE)
_COMMENT: Final = re.compile(r"^[ \t]*/\*\*(?:(?!\*/).)*\*/\n", re.MULTILINE | re.DOTALL)
"""Comments that fill whole lines: they are for readers of the modules."""
_ASIDE: Final = re.compile(r"^[ \t]*//.*\n|^[ \t]+", re.MULTILINE)
"""Comments of one line, and what lines are indented by: a page that opens waits for each byte."""
_LEFT: Final = re.compile(r"^(?:import\b|export (?!default )).*", re.MULTILINE)


def join(entry: Path) -> str:
    """Return one ES module made of `entry` and all that it imports, directly or not.

    Raises:
        ValueError: two modules have a top-level name in common, one imports a name that the other does not export, a template has
            several lines, or an import or export has a form that is not understood (only `import { a, b } from "./x.js"`, exports
            where a name is declared, and one `export default` of the entry are).
    """
    order: list[str] = []
    _visit(entry.name, entry.parent, order, [])
    owners: dict[str, str] = {}
    parts = []
    for name in order:
        text = (entry.parent / name).read_text(encoding="utf-8")
        for declared in _TOP.findall(text):
            if declared in owners:
                raise ValueError(f"{name}: the name {declared!r} is {owners[declared]}'s already; joined modules share their top level")
            owners[declared] = name
        if any(line.count("`") % 2 for line in text.splitlines()):
            raise ValueError(f"{name}: a template of several lines would lose its indentation")
        body = _ASIDE.sub("", _COMMENT.sub("", _EXPORT.sub("", _IMPORT.sub("", text))))
        left = _LEFT.search(body) or (None if name == entry.name else re.search(r"^export default", body, re.MULTILINE))
        if left is not None:
            raise ValueError(f"{name}: {left[0]!r} cannot be joined")
        parts.append(f"// {name}\n{body.strip()}\n")
    return "\n".join(parts)


_UNPACK: Final = """const packed = Uint8Array.from(atob("{packed}"), (letter) => letter.charCodeAt(0));
const text = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
export default (await import(URL.createObjectURL(new Blob([text], {{ type: "text/javascript" }})))).default;
"""


def pack(module: str) -> str:
    """Return an ES module with the default export of `module`, in a third of its bytes: JupyterLab asks for it twice at a reload."""
    named = f"{module}//# sourceURL=ccwatch-page.js\n"  # what a page's developer tools call it
    return _UNPACK.format(packed=base64.b64encode(gzip.compress(named.encode(), compresslevel=9, mtime=0)).decode())


def _visit(name: str, folder: Path, order: list[str], above: list[str]) -> None:
    """Append a module's imports, then itself, to `order`, each once. Modules may import each other where only functions use it."""
    if name in order or name in above:
        return
    text = (folder / name).read_text(encoding="utf-8")
    for names, other in _IMPORT.findall(text):
        exported = set(
            re.findall(r"^export (?:async )?(?:const|let|function|class) (\w+)", (folder / other).read_text(encoding="utf-8"), re.MULTILINE)
        )
        for wanted in filter(None, (part.strip() for part in names.split(","))):
            if wanted not in exported:
                raise ValueError(f"{name}: {other} does not export {wanted!r}")
        _visit(other, folder, order, [*above, name])
    order.append(name)
