// Several photographs: each is located by itself, two at a time, and has a row.

import * as api from "./api.js";
import { openAnswer, verdictOf } from "./answer.js";
import { app } from "./app.js";
import * as exporting from "./export.js";
import { parameters } from "./filters.js";
import { t } from "./texts.js";
import { $, announce, download, h, icon, score } from "./util.js";

const AT_A_TIME = 2;

let items = [];
let running = null;
let view = {};
let openTab = () => {};

export function openBatch(pick, pickFolder, tab) {
  openTab = tab;
  view.progress = h("progress", { max: "1", value: "0", "aria-label": t("batch.title") });
  view.count = h("span", { class: "num" });
  view.failed = h("span", { class: "state-failed" });
  view.stop = h("button", { type: "button", class: "text", text: t("batch.stop"), on: { click: stop } });
  view.retry = h("button", { type: "button", class: "text", text: t("batch.retry"), on: { click: retry } });
  view.clear = h("button", { type: "button", class: "text", text: t("batch.clear"), on: { click: clearBatch } });
  const save = (kind, type, extension) => h("button", { type: "button", text: t(`batch.${kind}`), on: { click: () => download(`answers.${extension}`, type, write(kind)) } });
  view.globe = [save("geojson", "application/geo+json", "geojson"), save("gpx", "application/gpx+xml", "gpx")];
  view.noGlobe = h("p", { class: "quiet", text: t("batch.noGlobe") });
  view.exports = h("div", { class: "buttons", role: "group", "aria-label": t("batch.export") }, h("span", { class: "quiet", text: t("batch.export") }), save("csv", "text/csv", "csv"), view.globe);
  view.body = h("tbody");
  const columns = [["photo"], ["state"], ["similarity", "num"], ["score", "num"], ["agree", "num"], ["confidence", "num"]];
  view.table = h("div", { class: "table-wrap", tabindex: "0", role: "region", "aria-label": t("batch.title") },
    h("table", {}, h("thead", {}, h("tr", {}, columns.map(([name, kind]) => h("th", { scope: "col", class: kind, text: t(`batch.col.${name}`) })))), view.body));
  view.work = h("div", { class: "batch-head", hidden: true },
    h("div", { class: "buttons" }, view.count, view.failed, h("span", { class: "grow" }), view.retry, view.stop, view.clear), view.progress, view.exports, view.noGlobe);
  $("#pane-batch").replaceChildren(
    h("div", { class: "section" }, h("h2", { text: t("batch.title") }), h("p", { class: "quiet", text: t("batch.help") }),
      h("div", { class: "buttons" },
        h("button", { type: "button", class: "primary", on: { click: pick } }, icon("photo"), t("photo.choose")),
        h("button", { type: "button", on: { click: pickFolder } }, icon("folder"), t("photo.folder")))),
    view.work, view.table);
  refresh();
}

function write(kind) {
  return kind === "csv" ? exporting.csv(items, app.frame.kind) : exporting[kind](items);
}

/** Takes photographs into the table, and begins with them. */
export function addPhotos(files) {
  for (const file of files) {
    const item = { file, name: file.webkitRelativePath || file.name, state: "waiting", answer: null, error: null };
    item.row = rowOf(item);
    items.push(item);
  }
  refresh();
  run();
}

export function clearBatch() {
  stop();
  for (const item of items) if (item.url) URL.revokeObjectURL(item.url);
  items = [];
  app.map?.map && app.map.showTrack([]);
  refresh();
}

function stop() {
  running?.abort();
  running = null;
  for (const item of items) if (item.state === "waiting" || item.state === "working") set(item, "stopped");
  refresh();
}

function retry() {
  for (const item of items) if (["failed", "stopped"].includes(item.state)) set(item, "waiting");
  run();
}

async function run() {
  if (running) return;
  running = new AbortController();
  const { signal } = running;
  clearPins();
  refresh();
  const worker = async () => {
    for (let item; !signal.aborted && (item = items.find((item) => item.state === "waiting")); ) await locate(item, signal);
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, worker));
  if (signal.aborted) return;
  running = null;
  refresh();
  if (!$("#pane-batch").hidden) app.map?.flyTo(located().map(({ at }) => at));
  announce(t("batch.done", { done: items.filter((item) => item.answer?.status === "answered").length, count: items.length }));
}

async function locate(item, signal) {
  set(item, "working");
  const started = performance.now();
  try {
    item.answer = await api.locate(item.file, parameters(), signal);
    item.seconds = (performance.now() - started) / 1000;
    item.error = null;
    set(item, verdictOf(item.answer));
  } catch (problem) {
    if (signal.aborted) return;
    item.error = problem.message;
    set(item, problem.status === 415 || problem.status === 422 ? "unreadable" : "failed");
  }
}

function set(item, state) {
  item.state = state;
  const row = rowOf(item);
  item.row.replaceWith(row);
  item.row = row;
  refresh();
}

function rowOf(item) {
  const { answer } = item;
  const cell = (text) => h("td", { class: "num", text: text ?? "" });
  item.url ??= URL.createObjectURL(item.file);
  const img = h("img", { src: item.url, alt: "", loading: "lazy" });
  img.addEventListener("error", () => img.replaceWith(h("span", { class: "blank" })));
  const label = [img, h("span", { class: "name", text: item.name, title: item.name })];
  const open = answer
    ? h("button", { type: "button", class: "open", "aria-label": t("batch.open", { name: item.name }), on: { click: () => show(item) } }, label)
    : h("span", { class: "picked" }, label);
  const estimate = answer?.status === "answered" ? answer.estimate : null;
  const state = h("td", {}, h("span", { class: `state-${item.state}`, text: t(`batch.state.${item.state}`) }), item.error && h("span", { class: "why", text: item.error }),
    estimate && h("span", { class: "num", text: app.frame.format(estimate.weighted ?? estimate.best) }));
  const first = answer?.matches[0];
  return h("tr", { "data-state": item.state }, h("td", {}, open), state,
    cell(first?.similarity.toFixed(3)), cell(first && score(first.score)),
    cell(answer?.estimate && `${answer.estimate.agreeing}/${answer.estimate.considered}`),
    cell(Number.isFinite(answer?.confidence) ? `${Math.round(answer.confidence * 100)} %` : ""));
}

/** Photographs with their points of the map. */
const located = () =>
  items.filter((item) => item.answer?.status === "answered" && item.answer.estimate)
    .map((item) => ({ name: item.name, at: app.frame.toMap(item.answer.estimate.weighted ?? item.answer.estimate.best) }));

/** The pins of one answer would be taken for those of all. */
function clearPins() {
  app.map?.clearPins();
  app.map?.closePopup();
}

function show(item) {
  for (const other of items) other.row.classList.toggle("selected", other === item);
  openTab("locate");
  openAnswer(item);
}

function refresh() {
  if (!view.body) return;
  const ended = items.filter((item) => !["waiting", "working"].includes(item.state));
  const failed = items.filter((item) => ["failed", "unreadable"].includes(item.state)).length;
  const rows = items.map((item) => item.row);
  rows.forEach((row, i) => view.body.children[i] !== row && view.body.insertBefore(row, view.body.children[i] ?? null));
  while (view.body.children.length > rows.length) view.body.lastChild.remove();
  view.work.hidden = view.table.hidden = items.length === 0;
  view.progress.max = Math.max(1, items.length);
  view.progress.value = ended.length;
  view.count.textContent = t("batch.progress", { done: ended.length, count: items.length });
  view.failed.textContent = failed ? t("batch.failed", { count: failed }) : "";
  view.stop.hidden = !running;
  view.retry.hidden = Boolean(running) || !items.some((item) => ["failed", "stopped"].includes(item.state));
  const globe = app.frame?.kind === "wgs84";
  for (const button of view.globe) button.hidden = !globe;
  view.table.classList.toggle("without-confidence", !items.some((item) => Number.isFinite(item.answer?.confidence)));
  view.noGlobe.hidden = globe || app.frame?.kind === "none";
  const badge = $("#batch-badge");
  badge.hidden = items.length === 0;
  badge.textContent = running ? `${ended.length}/${items.length}` : String(items.length);
  const track = located();
  if (app.map?.map && track.length) app.map.showTrack(track);
}
