// The widget's entry, by anywidget's contract: one store per model, one view per place where it is shown.
// A host may call render alone, without initialize: the first call that comes makes the store.

/** @import { Model } from "./types.js" */

import { Store } from "./store.js";
import { View } from "./view.js";

/** @type {WeakMap<Model, Store>} */
const STORES = new WeakMap();

/** @param {Model} model */
function storeOf(model) {
  const store = STORES.get(model) ?? new Store(model);
  STORES.set(model, store);
  return store;
}

export default {
  /** @param {{ model: Model }} given */
  initialize({ model }) {
    const store = storeOf(model);
    return () => {
      store.close();
      STORES.delete(model);
    };
  },
  /** @param {{ model: Model, el: HTMLElement }} given */
  render({ model, el }) {
    const view = new View(storeOf(model), model, el);
    return () => view.close();
  },
};
