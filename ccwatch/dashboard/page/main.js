// The widget's entry, by anywidget's contract: one store per widget, one view per place where it is shown.
// Hosts call this once per widget. initialize and render get models that differ (proxies), so a store is kept here, not by model.

/** @import { Model } from "./types.js" */

import { Store } from "./store.js";
import { View } from "./view.js";

export default () => {
  /** @type {Store | null} */
  let store = null;
  return {
    /** @param {{ model: Model }} given */
    initialize({ model }) {
      const made = new Store(model);
      store = made;
      return () => made.close();
    },
    /** @param {{ model: Model, el: HTMLElement }} given */
    render({ model, el }) {
      store ??= new Store(model); // a small host may call render alone
      const view = new View(store, model, el);
      return () => view.close();
    },
  };
};
