// The page's one plotly of a version, shared by all dashboards: it comes from a kernel, once.

export const SOURCE_PATIENCE_MS = 15_000; // then another dashboard of the page asks for plotly's source

/** @typedef {{ loaded: boolean, asked: number, ready: Promise<any>, resolve: (plotly: any) => void }} Shared */

/**
 * `ready` resolves to plotly once some dashboard's kernel has sent the source.
 * @param {string} version
 * @returns {Shared}
 */
export function sharedPlotly(version) {
  const page = /** @type {any} */ (window);
  const key = Symbol.for(`ccwatch.plotly.${version}`);
  if (!page[key]) {
    /** @type {Shared} */
    const shared = { loaded: false, asked: -Infinity, ready: Promise.resolve(), resolve: () => undefined };
    shared.ready = new Promise((resolve) => {
      shared.resolve = resolve;
    });
    page[key] = shared;
  }
  return page[key];
}

/** @param {Shared} shared @param {DataView} gzipped */
export async function loadPlotly(shared, gzipped) {
  if (shared.loaded) return;
  shared.loaded = true;
  try {
    const stream = new Blob([/** @type {any} */ (gzipped)]).stream().pipeThrough(new DecompressionStream("gzip"));
    const source = await new Response(stream).text();
    const before = Object.getOwnPropertyDescriptor(window, "Plotly");
    // As a module with a `module` of its own, plotly exports itself there; the page's own Plotly, if any, is put back.
    const parts = ["const module = { exports: {} };\n", source, "\nexport default module.exports;"];
    const url = URL.createObjectURL(new Blob(parts, { type: "text/javascript" }));
    try {
      shared.resolve((await import(/* webpackIgnore: true */ url)).default);
    } finally {
      URL.revokeObjectURL(url);
      if (before) Object.defineProperty(window, "Plotly", before);
      else delete (/** @type {any} */ (window).Plotly);
    }
  } catch (error) {
    shared.loaded = false;
    throw error;
  }
}
