// Small helpers that make elements. Text is always text, never markup: much of it is the stream's.

const SVG = "http://www.w3.org/2000/svg";

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} name
 * @param {string} className
 * @param {string} text
 */
export function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  if (text) made.textContent = text;
  return made;
}

/**
 * @param {Element} parent
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 */
export function shape(parent, name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  parent.append(made);
  return made;
}

/** @param {string} viewBox @param {string} className */
export function picture(viewBox, className = "") {
  const made = document.createElementNS(SVG, "svg");
  made.setAttribute("viewBox", viewBox);
  made.setAttribute("aria-hidden", "true");
  if (className) made.setAttribute("class", className);
  return made;
}

/**
 * @param {string} words
 * @param {string} title
 * @param {(event: MouseEvent) => void} action
 */
export function button(words, title, action) {
  const made = element("button", "ccw-key", words);
  made.type = "button";
  made.title = title;
  made.setAttribute("aria-label", title);
  made.addEventListener("click", action);
  return made;
}

/**
 * Write text where it differs: to write what is there costs a layout, and a new text node more than a changed one.
 * @param {Element} el
 * @param {string} words
 */
export function write(el, words) {
  const { firstChild } = el;
  if (firstChild && firstChild === el.lastChild && firstChild.nodeType === Node.TEXT_NODE && words) {
    if (firstChild.nodeValue !== words) firstChild.nodeValue = words;
  } else if (el.textContent !== words) el.textContent = words;
}

/**
 * Set an attribute where it differs.
 * @param {Element} el
 * @param {string} name
 * @param {string} value
 */
export function attribute(el, name, value) {
  if (el.getAttribute(name) !== value) el.setAttribute(name, value);
}

/**
 * Hide or show, where that changes anything.
 * @param {HTMLElement} el
 * @param {boolean} hidden
 */
export function hide(el, hidden) {
  if (el.hidden !== hidden) el.hidden = hidden;
}

/**
 * The element that an event is about.
 * @param {Event} event
 * @returns {Element}
 */
export function target(event) {
  return /** @type {Element} */ (event.target);
}
