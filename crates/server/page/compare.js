// The query and a match side by side, with what the model and RANSAC found in both.

import * as api from "./api.js";
import { t } from "./texts.js";
import { $, announce, baseName, h, icon, score, svg } from "./util.js";

const dialog = $("#compare");
/** Layers that are drawn; they stay as they were chosen. */
const layers = { pairs: true, inliers: true, attention: false, contributions: false };

let open = null;
let explained = new Map();
let photo = null;

/** Shows the match of this number of an answer. */
export function openCompare({ file, url, answer, index, reranks }, i) {
  if (photo !== file) explained = new Map();
  photo = file;
  open = { file, url, answer, index, i, kinds: reranks ? Object.keys(layers) : Object.keys(layers).filter((name) => name !== "contributions") };
  if (!dialog.open) dialog.showModal();
  build();
}

const observer = new ResizeObserver(() => draw());
dialog.addEventListener("close", () => {
  open?.controller?.abort();
  open = null;
  observer.disconnect();
  dialog.replaceChildren();
});
dialog.addEventListener("keydown", (event) => {
  if (event.target.matches("input")) return;
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});

function step(by) {
  const i = open.i + by;
  if (i < 0 || i >= open.answer.matches.length) return;
  open.i = i;
  build();
}

function build() {
  open.controller?.abort();
  open.explanation = null;
  const match = open.answer.matches[open.i];
  const title = t("compare.match", { rank: match.rank });
  const picture = (alt) => h("img", { alt, on: { load: draw } });
  open.query = picture(t("compare.alt.query"));
  open.match = picture(t("compare.alt.match", { name: match.path }));
  open.query.src = open.url;
  open.query.addEventListener("error", () => open && open.query.replaceWith(h("p", { class: "quiet", text: t("photo.noPreview") })));
  api.thumbnail(open.match, match.id, open.index, 1024);
  open.overlay = svg("svg", { "aria-hidden": "true" });
  open.working = h("p", { class: "working" });
  open.figures = h("p", { class: "figures" });
  open.legend = h("p", { hidden: true }, ["for", "against"].map((kind) => h("span", { class: "key" }, h("i", { class: kind }), t(`compare.${kind}`))));
  const figure = (img, caption) => h("figure", {}, h("figcaption", { text: caption, title: caption }), h("div", { class: "frame" }, img));
  const button = (name, by, disabled) =>
    h("button", { type: "button", class: "icon-only", "aria-label": t(name), title: t(name), disabled, on: { click: () => step(by) } }, icon(by < 0 ? "left" : "right"));
  const toggle = (name) => {
    const input = h("input", { type: "checkbox", checked: layers[name], on: { change: (event) => ((layers[name] = event.target.checked), name === "contributions" ? load() : draw()) } });
    return h("label", { class: "check", title: name === "contributions" ? t("compare.contributionsHelp") : null }, input, t(`compare.${name}`));
  };
  open.pair = h("div", { class: "pair" }, figure(open.query, `${t("compare.query")}: ${open.file.name}`), figure(open.match, `${title}: ${match.path}`), open.overlay, open.working);
  const focused = document.activeElement?.getAttribute("aria-label");
  dialog.replaceChildren(
    h("div", { class: "head" }, h("h2", { id: "compare-title", text: `${t("compare.title")} ${match.rank}` }),
      button("compare.previous", -1, open.i === 0), button("compare.next", 1, open.i === open.answer.matches.length - 1),
      h("button", { type: "button", class: "icon-only", "aria-label": t("compare.close"), title: t("compare.close"), on: { click: () => dialog.close() } }, icon("close"))),
    open.pair,
    h("div", { class: "foot" },
      h("fieldset", { class: "layers" }, h("legend", { class: "hidden", text: t("compare.layers") }), open.kinds.map(toggle)),
      open.legend, open.figures));
  const again = [...dialog.querySelectorAll("button:not(:disabled)")].find((button) => button.getAttribute("aria-label") === focused);
  (again ?? dialog.querySelector('button[aria-label="' + t("compare.close") + '"]')).focus();
  observer.disconnect();
  observer.observe(open.pair);
  load();
}

async function load() {
  const view = open;
  const match = view.answer.matches[view.i];
  const cached = explained.get(match.id);
  // What a trained reranker alone has.
  const contributions = layers.contributions && view.kinds.includes("contributions");
  if (cached && (!contributions || cached.contributions.length)) return show(cached);
  view.controller?.abort();
  view.controller = new AbortController();
  view.working.replaceChildren(h("span", {}, h("span", { class: "spin", "aria-hidden": "true" }), t("compare.working")));
  try {
    const explanation = await api.explain(view.file, match.id, view.index, contributions, view.controller.signal);
    explained.set(match.id, explanation);
    if (open === view && view.answer.matches[view.i] === match) show(explanation);
  } catch (problem) {
    if (problem.name !== "AbortError" && open === view) view.working.replaceChildren(h("span", { text: problem.message }));
  }
}

function show(explanation) {
  open.explanation = explanation;
  open.working.replaceChildren();
  const figure = (label, value) => h("span", {}, `${label} `, h("b", { text: value }));
  open.figures.replaceChildren(
    figure(t("match.similarity"), explanation.similarity.toFixed(3)),
    explanation.score === null ? "" : figure(t("match.score"), score(explanation.score)),
    figure(t("compare.pairs"), String(explanation.pairs.length)),
    figure(t("compare.inliers"), String(explanation.inliers)));
  announce(t("compare.summary", { pairs: explanation.pairs.length, inliers: explanation.inliers }));
  draw();
}

/** Where a picture really is inside its frame, in the overlay's pixels. */
function boxOf(img, origin) {
  if (!img.naturalWidth || !img.isConnected) return null;
  const outer = img.getBoundingClientRect();
  const scale = Math.min(outer.width / img.naturalWidth, outer.height / img.naturalHeight);
  const [width, height] = [img.naturalWidth * scale, img.naturalHeight * scale];
  return { x: outer.x - origin.x + (outer.width - width) / 2, y: outer.y - origin.y + (outer.height - height) / 2, width, height };
}

function draw() {
  if (!open?.explanation) return;
  const { explanation, overlay } = open;
  open.legend.hidden = !(layers.contributions && explanation.contributions.length);
  const origin = open.pair.getBoundingClientRect();
  const boxes = { query: boxOf(open.query, origin), reference: boxOf(open.match, origin) };
  const at = (side, [x, y]) => boxes[side] && [boxes[side].x + x * boxes[side].width, boxes[side].y + y * boxes[side].height];
  const [patchWidth, patchHeight] = explanation.patch;
  const parts = [];
  const cell = (side, point, kind, opacity) => {
    const box = boxes[side];
    if (!box) return;
    const [x, y] = at(side, point);
    const [width, height] = [patchWidth * box.width, patchHeight * box.height];
    parts.push(svg("rect", { class: kind, x: x - width / 2, y: y - height / 2, width, height, opacity: opacity.toFixed(3) }));
  };
  if (layers.attention) {
    for (const side of ["query", "reference"]) {
      const features = explanation[side].features;
      const most = Math.max(...features.map(([, , attention]) => attention), 1e-9);
      for (const [x, y, attention] of features) cell(side, [x, y], "heat", 0.12 + 0.5 * (attention / most));
    }
  }
  if (layers.contributions && explanation.contributions.length) {
    const most = Math.max(...explanation.contributions.map((one) => Math.abs(one.margin)), 1e-9);
    for (const one of explanation.contributions) {
      const strength = Math.abs(one.margin) / most;
      for (const side of ["query", "reference"]) if (one[side]) cell(side, one[side], one.margin >= 0 ? "for" : "against", 0.75 * strength);
    }
  }
  const pairs = explanation.pairs.filter((pair) => (pair.inlier ? layers.inliers : layers.pairs));
  for (const pair of pairs.sort((a, b) => a.inlier - b.inlier)) {
    const [a, b] = [at("query", pair.query), at("reference", pair.reference)];
    const kind = pair.inlier ? " inlier" : "";
    if (a && b) parts.push(svg("line", { class: `link${kind}`, x1: a[0], y1: a[1], x2: b[0], y2: b[1] }));
    for (const point of [a, b]) if (point) parts.push(svg("circle", { class: `dot${kind}`, cx: point[0], cy: point[1], r: pair.inlier ? 3.2 : 2 }));
  }
  overlay.replaceChildren(...parts);
}
