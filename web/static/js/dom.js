/* The few things this page does with the document. */

export const $ = (id) => document.getElementById(id);

/** An element with attributes, properties (`onclick`, `value`) and children; text stays text, never markup. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name in node && typeof value !== "string") node[name] = value;
    else node.setAttribute(name === "className" ? "class" : name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Text that differs, and only then: an untouched node costs no layout and is not read out again. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const NARROW = /[ .,:'/trilfj]/g; // about half as wide as a digit

/** As `say`, of a value that changes all the time: its place grows and does not shrink, so that what stands beside it rests. */
export function sayInPlace(node, text) {
  say(node, text);
  const digits = text.length - (text.match(NARROW)?.length ?? 0) / 2;
  if (digits <= (node.widest ?? 0)) return;
  node.widest = digits;
  node.style.minWidth = `${digits}ch`;
}

/** Sentences with `code` in backticks, as nodes. */
export function prose(text) {
  return text.split("`").map((part, at) => (at % 2 ? el("code", {}, part) : part));
}

/** "Y/X" as text that may break after its strokes, where it is too long for a line. */
export function breakable(text) {
  return text.split("/").flatMap((part, at) => (at ? ["/", el("wbr"), part] : [part]));
}

/** Calls `work` once, `ms` after the last call. */
export function settled(work, ms) {
  let timer;
  return () => { clearTimeout(timer); timer = setTimeout(work, ms); };
}

/** Calls `work` at the next frame, once however often it is asked for; a hidden page draws nothing until it is seen again. */
export function eachFrame(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; work(); });
  };
}

/** Calls `work`, which replaces what is in a node: not while it is pressed, for what is replaced under a finger gets no click. */
export function unpressed(node, work) {
  if (node.matches(":active")) setTimeout(() => unpressed(node, work), 100);
  else work();
}

export function remembered(key, fallback) {
  try { return localStorage.getItem(`gems.${key}`) ?? fallback; } catch { return fallback; }
}

export function remember(key, value) {
  try { localStorage.setItem(`gems.${key}`, value); } catch { /* a private window may forbid it: then it is forgotten */ }
}
