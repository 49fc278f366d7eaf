// Small helpers: elements, lists that keep their elements, numbers as people read them.

/** Makes an element. Properties that begin with `on` are listeners, others attributes unless false or null. */
export function h(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === false || value == null) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}

// Lines on a sheet of 24 by 24.
const icons = {
  again: "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
  close: "m6 6 12 12M18 6 6 18",
  copy: "M9 9h11v11H9zM15 5H5v10",
  delete: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  dice: "M4 4h16v16H4zM8.5 8.5h0m7 0h0M12 12h0m-3.5 3.5h0m7 0h0",
  down: "M12 5v13m-5-5 5 5 5-5",
  download: "M12 4v11m-5-5 5 5 5-5M5 20h14",
  first: "M6 5h12M12 20V9m-5 5 5-5 5 5",
  picture: "M3 5h18v14H3zm1 12 5-4 3 2.5 4-4.5 5 5M8 9h0",
  play: "M8 5.5v13l11-6.5z",
  reset: "M5 5v5h5M5.5 10A7 7 0 1 1 5 14",
  up: "M12 19V6m-5 5 5-5 5 5",
};

/** An icon. */
export function icon(name) {
  const [svg, path] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.ariaHidden = "true";
  path.setAttribute("d", icons[name]);
  svg.append(path);
  return svg;
}

/** A button with an icon, and the words for those who do not see it. */
export const iconButton = (name, words, onclick) =>
  h("button", { type: "button", class: "icon", "aria-label": words, title: words, onclick }, icon(name));

export const byId = (id) => document.getElementById(id);

/**
 * Shows items as children of a list. An item keeps its element, which has a method `update`; focus stays where it is
 * when elements change places, and goes to a neighbour when its element goes.
 */
export function showList(list, items, key, make) {
  const known = new Map([...list.children].map((element) => [element.dataset.key, element]));
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  let place = list.firstElementChild;
  for (const item of items) {
    const id = key(item);
    const element = known.get(id) ?? make(item);
    known.delete(id);
    element.dataset.key = id;
    if (element === place) place = place.nextElementSibling;
    else list.insertBefore(element, place);
    element.update?.(item);
  }
  for (const element of known.values()) element.remove();
  if (focused) (focused.isConnected ? focused : list.querySelector("button") ?? byId("render")).focus();
}

/** Whether things should stay still. */
export const isStill = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** A film that plays by itself, without sound and over and over, where things may move. */
export function filmOf(src, words, controls) {
  const film = h("video", { src, controls, "aria-label": words, loop: true, playsinline: true, autoplay: !isStill() });
  film.muted = true;
  return film;
}

/** 1.2 GB */
export function bytesText(bytes) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; bytes >= 1000 && unit < 4; unit += 1) bytes /= 1000;
  return `${unit && bytes < 10 ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`;
}

/** 45 s, 2 min 40 s, 1 h 5 min */
export function timeText(seconds) {
  const all = Math.max(1, Math.round(seconds));
  const minutes = Math.floor(all / 60);
  if (all < 60) return `${all} s`;
  if (all < 3600) return `${minutes} min${all % 60 && minutes < 10 ? ` ${all % 60} s` : ""}`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A number with two places at most. */
export const shortNumber = (number) => String(Number(Number(number).toFixed(2)));

/** 560x384 as 560×384 */
export const sizeText = (size) => (size ?? "").replace("x", "×");

/** base_resolution as base resolution */
export const keyText = (key) => key.replaceAll("_", " ");

/** Says something to screen readers. */
export function say(text) {
  byId("said").textContent = text;
}

/** Shows a passing message; `undo` takes back what it says, `onend` is called where nobody did. */
export function toast(text, { undo, onend } = {}) {
  let timer;
  const end = (last) => {
    clearTimeout(timer);
    element.remove();
    last?.();
  };
  const wait = () => { timer = setTimeout(end, 7000, onend); };
  const hold = () => clearTimeout(timer);
  // Whoever reaches for the button has all the time.
  const element = h("div", { class: "toast", onpointerenter: hold, onpointerleave: wait, onfocusin: hold, onfocusout: wait },
    h("span", {}, text), undo && h("button", { type: "button", onclick: () => end(undo) }, "Undo"));
  byId("toasts").append(element);
  wait();
}

/** Puts a command line on the clipboard, also where the page has no secure origin. */
export async function copy(command) {
  try {
    await navigator.clipboard.writeText(command);
  } catch {
    const area = h("textarea", { class: "unseen" }, command);
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  toast("Command line copied");
}

/** A command line that can be copied. */
export const commandLine = (command) => h("div", { class: "command" }, h("code", { tabindex: 0 }, command),
  iconButton("copy", "Copy the command line", () => copy(command)));

/** Names and values in two columns; what has no value is left out. */
export const rows = (pairs) => h("dl", { class: "rows" }, pairs.filter(([, value]) => value != null && value !== "")
  .map(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))]));
