// The widget's entry: one store per widget, one view per place where it is shown.

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
      const view = new View(/** @type {Store} */ (store), model, el);
      return () => view.close();
    },
  };
};
