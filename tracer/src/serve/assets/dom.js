// Makes elements. Text goes in as text nodes only, so nothing that comes from the API is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element: `el("td", { class: "num" }, "12", child)`. A null attribute or child is left out. */
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same in SVG. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  add(node, children);
  return node;
}

function add(node, children) {
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : String(child));
  }
}

/** Puts `children` in place of what `node` holds. */
export function put(node, ...children) {
  node.replaceChildren();
  add(node, children);
}

/** The element with this id; the page has all that are asked for. */
export const by = (id) => document.getElementById(id);

/** Runs `work` when the width of `node` is known and whenever it changes. */
export function onWidth(node, work) {
  let last = 0;
  new ResizeObserver(() => {
    const width = Math.floor(node.clientWidth);
    if (width > 0 && width !== last) {
      last = width;
      work(width);
    }
  }).observe(node);
}
