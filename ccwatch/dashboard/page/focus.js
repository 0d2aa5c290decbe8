// Keeps the keys of a dashboard from the notebook around it, and the focus in the charts of a user who works there.

/** @import { View } from "./view.js" */

import { target } from "./dom.js";

/** @param {View} view @returns {(() => void)[]} what undoes it */
export function holdFocus({ el, charts }) {
  let isOurs = false; // the last press was in the charts
  // Else the notebook would take M and the arrows for its own; Ctrl+S and the like stay the notebook's. Asked before it looks.
  const guard = (/** @type {KeyboardEvent} */ event) => {
    const at = target(event);
    const ours = !(event.ctrlKey || event.metaKey || event.altKey);
    // On the focused element too: the notebook's own selectors match that one before they come to its parents.
    for (const one of el.contains(at) ? [el, at] : [el]) one.toggleAttribute("data-lm-suppress-shortcuts", ours);
  };
  const keep = (/** @type {Event} */ event) => event.stopPropagation(); // the notebook would select cells by it, and take the focus back
  // A user who pressed last in the charts goes on there: the notebook gives the focus back to a cell's editor at times of its own.
  const pressed = (/** @type {PointerEvent} */ event) => {
    isOurs = charts.plot.contains(target(event));
  };
  const left = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Tab" || event.ctrlKey || event.metaKey || event.altKey) isOurs = false;
  };
  const strayed = (/** @type {FocusEvent} */ event) => {
    if (!isOurs || el.contains(/** @type {Node} */ (event.target))) return;
    setTimeout(() => isOurs && !el.contains(document.activeElement) && charts.plot.focus({ preventScroll: true }));
  };
  window.addEventListener("keydown", guard, true);
  el.addEventListener("mousedown", keep);
  document.addEventListener("pointerdown", pressed, true);
  document.addEventListener("keydown", left, true);
  document.addEventListener("focusin", strayed, true);
  return [
    () => window.removeEventListener("keydown", guard, true),
    () => el.removeEventListener("mousedown", keep),
    () => document.removeEventListener("pointerdown", pressed, true),
    () => document.removeEventListener("keydown", left, true),
    () => document.removeEventListener("focusin", strayed, true),
  ];
}
