// Several photographs: each is located by itself, two at a time, and has a row.

import * as api from "./api.js";
import { openAnswer, verdictOf } from "./answer.js";
import { app } from "./app.js";
import * as exporting from "./export.js";
import { parameters } from "./filters.js";
import { t } from "./texts.js";
import { $, announce, download, h, icon, score, toast } from "./util.js";

const AT_A_TIME = 2;

let items = [];
let running = null;
let view = {};
/** Whether the photographs are frames that are located together. */
let sequence = false;
/** How they move, as it was typed; the service's own bounds where that is empty. */
const bounds = { maxSpeed: "", maxStep: "", maxPlaces: "" };
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
  view.sequence = h("input", { type: "checkbox", checked: sequence, on: { change: (event) => setSequence(event.target.checked) } });
  view.sequenceRow = h("label", { class: "check", title: t("batch.sequenceHelp") }, view.sequence, t("batch.sequence"));
  const bound = (name, most, usual) => {
    const input = h("input", { type: "number", min: "0", max: String(most), step: "any", inputmode: "decimal", placeholder: String(usual), value: bounds[name],
      on: { change: () => input.reportValidity() && ((bounds[name] = input.value), setSequence(true)) } });
    return h("label", { class: "field", title: t(`batch.${name}Help`) }, h("span", { text: t(`batch.${name}`) }), input);
  };
  // Names in an order have no speed.
  view.bounds = h("div", { class: "row" }, app.frame.kind === "none" ? bound("maxPlaces", 100000, 3) : [bound("maxSpeed", 1000, 15), bound("maxStep", 100000, 15)]);
  view.head = h("input", { type: "range", min: "1", value: "1", id: "playhead", on: { input: play } });
  view.headText = h("output", { for: "playhead" });
  view.play = h("div", { class: "play", hidden: true }, h("label", { for: "playhead", text: t("batch.playhead") }), view.head, view.headText);
  view.body = h("tbody");
  const columns = [["photo"], ["state"], ["similarity", "num"], ["score", "num"], ["agree", "num"], ["confidence", "num"]];
  view.table = h("div", { class: "table-wrap", tabindex: "0", role: "region", "aria-label": t("batch.title") },
    h("table", {}, h("thead", {}, h("tr", {}, columns.map(([name, kind]) => h("th", { scope: "col", class: kind, text: t(`batch.col.${name}`) })))), view.body));
  view.work = h("div", { class: "batch-head", hidden: true },
    h("div", { class: "buttons" }, view.count, view.failed, h("span", { class: "grow" }), view.retry, view.stop, view.clear), view.progress, view.play, view.exports, view.noGlobe);
  $("#pane-batch").replaceChildren(
    h("div", { class: "section" }, h("h2", { text: t("batch.title") }), h("p", { class: "quiet", text: t("batch.help") }),
      h("div", { class: "buttons" },
        h("button", { type: "button", class: "primary", on: { click: pick } }, icon("photo"), t("photo.choose")),
        h("button", { type: "button", on: { click: pickFolder } }, icon("folder"), t("photo.folder"))), view.sequenceRow, view.bounds),
    view.work, view.table);
  refresh();
}

function write(kind) {
  if (sequence) return { csv: exporting.trackCsv, geojson: exporting.trackGeojson, gpx: exporting.trackGpx }[kind](items, app.frame.kind);
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
  app.map?.map && app.map.showTrack([], false);
  refresh();
}

function stop() {
  running?.abort();
  running = null;
  for (const item of items) if (item.state === "waiting" || item.state === "working") set(item, "stopped");
  refresh();
}

function retry() {
  for (const item of items.filter(({ state }) => ["failed", "stopped"].includes(state))) {
    item.error = null;
    set(item, "waiting");
  }
  // A sequence is located from its first frame.
  if (sequence) setSequence(true);
  else run();
}

/** Frames are located by each other: those that are there begin again. */
function setSequence(wanted) {
  stop();
  sequence = wanted;
  for (const item of items) Object.assign(item, { state: "waiting", answer: null, fix: null, error: null });
  for (const item of items) set(item, "waiting");
  refresh();
  if (items.length) run();
}

/** Sends the frames one after the other, by their names. A photograph that the service refuses is left out of the session. At a frame that is not
 * settled otherwise the sequence ends: its number may be taken, and another photograph would get its answer. */
async function track(signal) {
  items.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  refresh();
  const none = app.frame.kind === "none";
  const motion = { max_speed: none ? null : bounds.maxSpeed, max_step: none ? bounds.maxPlaces : bounds.maxStep };
  const session = await api.beginSession({ ...parameters(), ...motion }, signal);
  let frame = 1;
  for (const item of items) {
    if (signal.aborted) break;
    set(item, "working");
    try {
      Object.assign(item, await api.sendFrame(session, item.file, frame, signal));
      frame += 1;
      set(item, item.fix ? "tracked" : verdictOf(item.answer));
    } catch (problem) {
      if (signal.aborted) break;
      fail(item, problem);
      if (api.isRefusal(problem)) continue;
      for (const later of items) if (later.state === "waiting") set(later, "stopped");
      toast(t("batch.ended", { name: item.name }), [], "error");
      break;
    }
  }
  api.endSession(session).catch(() => {});
}

/** Moves to the frame that the playhead names. */
function play() {
  const item = items[Number(view.head.value) - 1];
  if (!item) return;
  view.headText.textContent = t("batch.frame", { frame: Number(view.head.value), count: items.length, name: item.name });
  for (const other of items) other.row.classList.toggle("selected", other === item);
  item.row.scrollIntoView({ block: "nearest" });
  app.map?.showPlayhead(item.fix?.position ? app.frame.toMap(item.fix.position) : null);
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
  try {
    await (sequence ? track(signal) : Promise.all(Array.from({ length: AT_A_TIME }, worker)));
  } catch (problem) {
    if (!signal.aborted) toast(problem.message, [], "error");
  }
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
    fail(item, problem);
  }
}

function fail(item, problem) {
  item.error = problem.message;
  set(item, problem.status === 415 || problem.status === 422 ? "unreadable" : "failed");
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
  const position = positionOf(item);
  const state = h("td", {}, h("span", { class: `state-${item.state}`, text: t(`batch.state.${item.state}`) }), item.error && h("span", { class: "why", text: item.error }),
    position && h("span", { class: "num", text: app.frame.format(position) }));
  const first = answer?.matches[0];
  return h("tr", { "data-state": item.state }, h("td", {}, open), state,
    cell(first?.similarity.toFixed(3)), cell(first && score(first.score)),
    cell(answer?.estimate && `${answer.estimate.agreeing}/${answer.estimate.considered}`),
    cell(Number.isFinite(answer?.confidence) ? `${Math.min(99, Math.round(answer.confidence * 100))} %` : ""));
}

/** Where a photograph was taken, by the frames before it or by itself. */
function positionOf({ answer, fix }) {
  if (fix) return fix.position ?? null;
  return answer?.status === "answered" && answer.estimate ? answer.estimate.weighted ?? answer.estimate.best : null;
}

/** Photographs with their points of the map. */
const located = () =>
  items.filter(positionOf).map((item) => ({ name: item.name, at: app.frame.toMap(positionOf(item)) }));

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
  const points = located();
  if (app.map?.map && points.length) app.map.showTrack(points, sequence);
  view.bounds.hidden = !sequence;
  view.play.hidden = !sequence || Boolean(running) || !items.length;
  view.head.max = String(Math.max(1, items.length));
}
