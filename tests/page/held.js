// Reads the kernel's messages, a line of JSON each, with the page's own modules, and says what they hold: the Python tests' page.

import { createInterface } from "node:readline";
import { Stream } from "../../ccwatch/dashboard/page/stream.js";

/** @type {Record<string, Stream>} */
const pages = {};

/** @param {Stream} stream */
function held(stream) {
  const { rows } = stream;
  const columns = rows?.columns ?? [];
  return {
    seq: stream.seq,
    marks: stream.marks,
    name: stream.name,
    exact: rows ? rows.exact : 0,
    first: rows ? rows.first : 0,
    columns: Object.fromEntries(
      columns.map(([type, name]) => {
        const values = rows.column(name).slice(rows.first, rows.end);
        return [name, [type, Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("base64")]];
      }),
    ),
    events: stream.tables.events.length,
    facts: rows && rows.count ? stream.facts(rows.last) : null,
  };
}

createInterface({ input: process.stdin }).on("line", (line) => {
  const { page, content, buffers, ask } = JSON.parse(line);
  const stream = (pages[page] ??= new Stream());
  if (ask) {
    process.stdout.write(`${JSON.stringify(held(stream))}\n`);
    return;
  }
  const views = buffers.map((/** @type {string} */ words) => {
    const bytes = Buffer.from(words, "base64");
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  });
  process.stdout.write(`${JSON.stringify(stream.take(content, views))}\n`);
});
