// Small things that every part uses: elements, formats, announcements.

import { t } from "./texts.js";

export const $ = (selector, root = document) => root.querySelector(selector);

/** An element. `class`, `text`, `on: {event: handler}`, and attributes; `false` and `null` leave one out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") element.textContent = value;
    else if (name === "on") for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** An SVG element. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** One of the icons at the top of the document. */
export function icon(name) {
  const element = svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" });
  element.append(svg("use", { href: `#i-${name}` }));
  return element;
}

/** A length in words: 0.4 m, 22 m, 1.3 km. */
export function metres(value) {
  if (value < 10) return `${value.toFixed(1)} m`;
  if (value < 1000) return `${Math.round(value)} m`;
  return value < 100_000 ? `${(value / 1000).toFixed(1)} km` : `${Math.round(value / 1000).toLocaleString("en")} km`;
}

export function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

export function duration(seconds) {
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min` : `${Math.round(seconds)} s`;
}

/** A day, from seconds since 1970. */
export function day(seconds) {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString().slice(0, 10);
}

export function compass(degrees) {
  const names = t("compass").split(",");
  return names[Math.round((((degrees % 360) + 360) % 360) / 45) % 8];
}

/** A score with as many digits as say something. */
export function score(value) {
  if (value === null || value === undefined) return "–";
  return Number.isInteger(value) ? String(value) : value.toFixed(value > 0.999 && value < 1 ? 4 : 3);
}

export const baseName = (path) => path.slice(path.lastIndexOf("/") + 1);

/** Says something to screen readers. */
export function announce(text) {
  const region = $("#announce");
  region.textContent = "";
  requestAnimationFrame(() => (region.textContent = text));
}

/** A short note at the lower edge, with what can be done about it. */
export function toast(text, actions = [], kind = "") {
  const close = () => note.remove();
  const buttons = actions.map(({ label, run }) =>
    h("button", { type: "button", class: "text", text: label, on: { click: () => (close(), run()) } }),
  );
  const note = h("div", { class: `toast ${kind}` }, h("p", { text }), ...buttons);
  $("#toasts").replaceChildren(note);
  announce(text);
  setTimeout(close, actions.length || kind === "error" ? 12_000 : 5_000);
}

/** Offers a file to save. */
export function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
