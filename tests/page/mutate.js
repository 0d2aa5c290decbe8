// Changes the modules that thin and store, a line at a time, and says which changes no test of node --test notices.
// `node tests/page/mutate.js [--every N] [module …]`: prints each survivor and the score (of every Nth change), also when it is ended
// early; ends with 1 where a line survives all that is done to it.

import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const PAGE = join(HERE, "../../ccwatch/dashboard/page");
const { values, positionals } = parseArgs({ options: { every: { type: "string", default: "1" } }, allowPositionals: true });
const MODULES = positionals.length ? positionals : ["rows.js", "thin.js", "stream.js"];
const AT_ONCE = 2;
const TIMEOUT_MS = 20_000;

/** @type {[RegExp, string][]} */
const CHANGES = [
  [/ === /, " !== "], [/ !== /, " === "], [/ < /, " <= "], [/ <= /, " < "], [/ > /, " >= "], [/ >= /, " > "], [/ \+ /, " - "], [/ - /, " + "],
  [/ \* /, " / "], [/ \/ /, " * "], [/ && /, " || "], [/ \|\| /, " && "], [/ \+= /, " -= "], [/ \|= /, " = "], [/ >> /, " << "],
  [/\btrue\b/, "false"], [/\bfalse\b/, "true"], [/\breturn [^;]+;/, "return undefined;"], [/\b0\b/, "1"], [/\b([1-9]\d*)\b/, "($1 + 1)"],
  [/Math\.min\(/, "Math.max("], [/Math\.max\(/, "Math.min("], [/Infinity/, "0"], [/"[a-z]+"/, '"changed word"'],
];

/** Beginnings that nothing depends on: before the first point there is no line to cut, and no bucket is equal to none. */
const WITHOUT_EFFECT = new Set(["this.cut = 0;", "this.bucket = NaN;"]);

/** The ways in which a line of code is changed. @param {string} line */
function changed(line) {
  const code = line.trim();
  if (!code || WITHOUT_EFFECT.has(code.replace(/ *\/\/.*/, "")) || /^(\/\/|\/\*|\*|import|export (class|function)|class|\}|\{|\]|\)|constructor|case|default|switch|else$|get |[a-zA-Z]+\([^)]*\) \{$)/.test(code)) return [];
  const found = CHANGES.filter(([from]) => from.test(line.replace(/\/\*\*.*?\*\//g, "").replace(/\/\/.*/, ""))).map(([from, to]) => line.replace(from, to));
  return /;$/.test(code.replace(/ *\/\/.*/, "")) && !/^(const|let|return|break)/.test(code) ? ["", ...found] : found;
}

const folder = mkdtempSync(join(tmpdir(), "mutate-"));
const slots = Array.from({ length: AT_ONCE }, (_, slot) => {
  const root = join(folder, String(slot));
  cpSync(PAGE, join(root, "ccwatch/dashboard/page"), { recursive: true });
  for (const name of ["rows.test.js", "thin.test.js", "stream.test.js", "vectors.json", "package.json"]) cpSync(join(HERE, name), join(root, "tests/page", name), { recursive: true });
  // In one process: three of them, for each of a thousand changes, would take a quarter of an hour.
  writeFileSync(join(root, "tests/page/all.js"), 'import "./rows.test.js";\nimport "./thin.test.js";\nimport "./stream.test.js";\n');
  return root;
});

/** Whether the tests fail in a slot. @param {string} root */
function fails(root) {
  return new Promise((resolve) => execFile("node", [join(root, "tests/page/all.js")], { timeout: TIMEOUT_MS }, (error) => resolve(Boolean(error))));
}

/** @type {{ module: string, number: number, line: string, lines: string[], to: string }[]} */
const every = MODULES.flatMap((module) => {
  const lines = readFileSync(join(PAGE, module), "utf8").split("\n");
  return lines.flatMap((line, at) => changed(line).map((to) => ({ module, number: at + 1, line, lines, to })));
});
const work = every.filter((_, at) => at % Number(values.every) === 0);
let total = 0;
/** @type {Map<string, { caught: number, survived: string[] }>} */
const seen = new Map();

async function run(/** @type {string} */ root) {
  for (let next = work.shift(); next; next = work.shift()) {
    const { module, number, line, lines, to } = next;
    const path = join(root, "ccwatch/dashboard/page", module);
    writeFileSync(path, lines.with(number - 1, to).join("\n"));
    const key = `${module}:${number}`;
    const of = seen.get(key) ?? { caught: 0, survived: [] };
    seen.set(key, of);
    if (await fails(root)) of.caught += 1;
    else {
      of.survived.push(to);
      console.log(`${key}: ${line.trim()}  →  ${to.trim() || "(removed)"}`);
    }
    total += 1;
    writeFileSync(path, lines.join("\n"));
  }
}

function sum() {
  const survived = [...seen.values()].reduce((count, of) => count + of.survived.length, 0);
  const lost = [...seen].filter(([, { caught, survived: left }]) => !caught && left.length).map(([key]) => key);
  console.log(`${total - survived} of ${total} changes are noticed (of ${every.length} in all); ${seen.size - lost.length} of ${seen.size} lines; none of ${lost.join(", ") || "no line"} is`);
  return lost.length ? 1 : 0;
}

process.on("SIGTERM", () => process.exit(sum()));
await Promise.all(slots.map(run));
rmSync(folder, { recursive: true });
process.exitCode = sum();
