// Small helpers that make and find elements. Knows nothing of shots.

const SVG = "http://www.w3.org/2000/svg";

// Outlines on a 16 x 16 grid, stroked in the colour of the text beside them.
/** @type {{ [name: string]: string }} */
const ICONS = {
  approve: "M3 8.5l3.2 3.2L13 4.8",
  reject: "M4 4l8 8M12 4l-8 8",
  original: "M13 8a5 5 0 1 1-1.6-3.7M13 2v3h-3",
  rerun: "M3 8a5 5 0 0 1 8.6-3.4L13 6M13 3v3h-3M13 8a5 5 0 0 1-8.6 3.4L3 10M3 13v-3h3",
  comment: "M2.5 3.5h11v7.5H7l-3 2.5V11H2.5z",
  undo: "M5.5 3L2.5 6l3 3M2.5 6H10a3.5 3.5 0 0 1 0 7H6",
  play: "M5 3.2v9.6l8-4.8z",
  pause: "M5.2 3v10M10.8 3v10",
  back: "M10.5 3L5 8l5.5 5M3 3v10",
  forward: "M5.5 3L11 8l-5.5 5M13 3v10",
  previous: "M10 3L5 8l5 5",
  next: "M6 3l5 5-5 5",
  loop: "M3 8.500V7a2.5 2.5 0 0 1 2.5-2.500H13M11 2.500l2 2-2 2M13 7.500V9a2.5 2.5 0 0 1-2.5 2.500H3M5 13.500l-2-2 2-2",
  sound: "M2.5 6v4H5l3.5 3V3L5 6zM11 5.500a3.5 3.5 0 0 1 0 5M12.7 3.500a6 6 0 0 1 0 9",
  theme: "M8 2.500a5.5 5.5 0 1 0 0 11zM8 2.500a5.5 5.5 0 0 1 0 11",
  help: "M5.8 6a2.3 2.3 0 1 1 3.3 2.100c-.8.4-1.1.8-1.1 1.700M8 12.300v.2",
  search: "M7 2.800a4.2 4.2 0 1 0 0 8.400a4.2 4.2 0 1 0 0-8.400M10 10l3.5 3.5",
  warn: "M8 2.500L14 13H2zM8 6.500v3M8 11.200v.2",
  note: "M3.5 2.500h9v11h-9zM5.8 6h4.400M5.8 9h4.4",
  blocker: "M5.5 2.500h5l3 3v5l-3 3h-5l-3-3v-5zM5 8h6",
  issue: "M8 2.500L14 13H2zM8 6.500v3M8 11.200v.2",
  check: "M2.5 2.500h11v11h-11z",
  close: "M4 4l8 8M12 4l-8 8",
  take: "M2.5 4.500h8v8h-8zM5.5 4.500v-2h8v8h-3",
};

// Make an element: h("button.plain", { type: "button", onclick: f }, "text", child)
/** @template {string} S
 * @param {S} spec @param {{ [name: string]: any }} [props] @param {(Child | Child[])[]} children @returns {Made<S>} */
export function h(spec, props = {}, ...children) {
  const [tag, ...classes] = spec.split(".");
  const node = document.createElement(tag);
  if (classes.length) node.className = classes.join(" ");
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name in node && typeof value !== "string") Object.assign(node, { [name]: value });
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined && child !== false) node.append(child);
  return /** @type {any} */ (node);
}

/** @param {string} name */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name] ?? ICONS.help);
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", `icon icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(path);
  return svg;
}

// Put the drawings into elements of a template that name one: <button data-icon="play">
/** @param {ParentNode} [root] */
export function fillIcons(root = document) {
  for (const node of $$("[data-icon]", root)) {
    node.prepend(icon(node.dataset.icon));
    node.removeAttribute("data-icon");
  }
}

/** @template {string} S
 * @param {S} selector @param {ParentNode} [root] @returns {Sought<S>} */
export const $ = (selector, root = document) => /** @type {any} */ (root.querySelector(selector));
/** @template {string} S
 * @param {S} selector @param {ParentNode} [root] @returns {OfTag<S>[]} */
export const $$ = (selector, root = document) => /** @type {any} */ ([...root.querySelectorAll(selector)]);

// The field that an event is about.
/** @param {Event} event */
export const fieldOf = (event) => /** @type {HTMLInputElement} */ (event.target);

// The element that an event is about, null where it is the document or the window.
/** @param {Event} event */
export const elementOf = (event) => (event.target instanceof Element ? event.target : null);

// Text that changes often: written only where it differs, so that nothing is laid out for nothing.
/** @param {Node} node @param {string} text */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// What must be kept in this browser; a browser that keeps nothing is no error.
export const memory = {
  /** @param {string} name @param {any} [otherwise] */
  get(name, otherwise = null) {
    try {
      const text = localStorage.getItem(`dub.${name}`);
      return text === null ? otherwise : JSON.parse(text);
    } catch {
      return otherwise;
    }
  },
  /** @param {string} name @param {unknown} value */
  set(name, value) {
    try {
      localStorage.setItem(`dub.${name}`, JSON.stringify(value));
    } catch {
      // full, or forbidden: it is asked again next time
    }
  },
};

// The same for as long as the tab lives.
export const session = {
  /** @param {string} name @param {any} [otherwise] */
  get(name, otherwise = null) {
    try {
      const text = sessionStorage.getItem(`dub.${name}`);
      return text === null ? otherwise : JSON.parse(text);
    } catch {
      return otherwise;
    }
  },
  /** @param {string} name @param {unknown} value */
  set(name, value) {
    try {
      sessionStorage.setItem(`dub.${name}`, JSON.stringify(value));
    } catch {
      // as above
    }
  },
};

// A canvas's picture in device pixels; returns the drawing context, scaled so that units are CSS pixels.
/** @param {HTMLCanvasElement} canvas @param {number} width @param {number} height */
export function fitCanvas(canvas, width, height) {
  const ratio = Math.min(window.devicePixelRatio || 1, 3);
  const [w, hgt] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== w || canvas.height !== hgt) {
    canvas.width = w;
    canvas.height = hgt;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

// A colour of the style sheet, for canvases.
/** @param {string} name */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
