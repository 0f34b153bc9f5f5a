// The page's start: the service and its index, tabs, and the ways a photograph comes in.

import * as api from "./api.js";
import { clearAnswer, currentPhoto, locatePhoto, showHint } from "./answer.js";
import { app, forgetPlaces, loadPlaces, may, on, places } from "./app.js";
import { addPhotos, clearBatch, openBatch } from "./batch.js";
import { isDrawing, listKnownTags, offerAgain, openFilters, passes, setDrawing } from "./filters.js";
import { openFloor } from "./floor.js";
import { frameOf } from "./geo.js";
import { PlaceMap } from "./map.js";
import { listPlaces, mapPressed, openPlacePopup, openPlaces, pickForAdding, showHealth } from "./places.js";
import { fillTexts, t } from "./texts.js";
import { $, h, toast } from "./util.js";

const TABS = ["locate", "batch", "places"];

fillTexts();

// Tabs

function openTab(name, focus = false) {
  for (const other of TABS) {
    const tab = $(`#tab-${other}`);
    const chosen = other === name;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    $(`#pane-${other}`).hidden = !chosen;
    if (chosen && focus) tab.focus();
  }
  if (!app.index) return;
  if (name === "places") showHealth();
  showMap();
}

for (const name of TABS) $(`#tab-${name}`).addEventListener("click", () => openTab(name));
$(".tabs").addEventListener("keydown", (event) => {
  const at = TABS.findIndex((name) => $(`#tab-${name}`) === event.target);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: TABS.length - 1 }[event.key];
  if (at < 0 || to === undefined) return;
  event.preventDefault();
  openTab(TABS[(to + TABS.length) % TABS.length], true);
});

const tabOpen = () => TABS.find((name) => !$(`#pane-${name}`).hidden);

// Photographs

/** Takes what was dropped, pasted, chosen or taken. */
function take(files) {
  const photos = [...files].filter((file) => file.type.startsWith("image/") || /\.(jpe?g|png|webp|avif|heic|heif|tiff?|bmp|gif|jxl|jp2)$/i.test(file.name));
  if (!photos.length) return toast(t("photo.notImages"), [], "error");
  if (!app.index) return toast(t("photo.notYet"), [], "error");
  if (tabOpen() === "places" && photos.length === 1 && may("write")) return pickForAdding(photos[0]);
  if (photos.length === 1 && tabOpen() !== "batch") {
    openTab("locate");
    locatePhoto(photos[0]);
  } else {
    openTab("batch");
    addPhotos(photos);
  }
}

function chooser(input) {
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = "";
    if (files.length) take(files);
  });
  return () => input.click();
}

const choose = chooser($("#file"));
const camera = chooser($("#camera"));
const folder = h("input", { type: "file", class: "hidden", webkitdirectory: true, tabindex: "-1", id: "folder", "aria-label": t("photo.folder") });
document.body.append(folder);
folder.addEventListener("change", () => {
  const files = [...folder.files];
  folder.value = "";
  openTab("batch");
  if (files.length) take(files);
});
$("#choose").addEventListener("click", choose);
$("#take").addEventListener("click", camera);

let inside = 0;
const carriesFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
const veil = (shown) => ($("#drop-everywhere").hidden = !shown);
addEventListener("dragenter", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  inside += 1;
  veil(true);
});
addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
addEventListener("dragleave", (event) => {
  if (!carriesFiles(event)) return;
  inside = Math.max(0, inside - 1);
  veil(inside > 0);
});
addEventListener("drop", async (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  inside = 0;
  veil(false);
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const files = [...event.dataTransfer.files];
  if (!entries.some((entry) => entry.isDirectory)) return take(files);
  openTab("batch");
  take((await Promise.all(entries.map(filesOf))).flat());
});
addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (!files.length) return;
  event.preventDefault();
  take(files);
});

/** The files of a dropped folder, and of those in it. */
async function filesOf(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const found = [];
  // A reader gives at most some hundred entries per call.
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) break;
    found.push(...some);
  }
  return (await Promise.all(found.map(filesOf))).flat();
}

// The key

function askForKey(why = "") {
  const dialog = $("#key-dialog");
  if (dialog.open) return;
  const input = h("input", { type: "password", id: "key", autocomplete: "off", spellcheck: "false", value: api.key.get() ?? "", "aria-describedby": "key-why" });
  const form = h("form", { method: "dialog", on: { submit: async (event) => {
    const choice = event.submitter?.value;
    if (choice === "cancel") return;
    event.preventDefault();
    sayWhy("");
    const former = choice === "forget" ? null : api.key.get();
    if (choice === "forget") input.value = "";
    api.key.set(input.value.trim());
    const problem = await start();
    if (!problem) return dialog.close();
    // A key that is refused leaves the one before, and the dialog says why.
    api.key.set(former);
    if (problem.status !== 401) sayWhy(problem.message);
  } } },
  h("h2", { id: "key-title", text: t("key.title") }),
  h("p", { class: "why", id: "key-why", role: "alert" }),
  h("p", { class: "quiet", text: t("key.help") }),
  h("label", { class: "field" }, h("span", { text: t("key.field") }), input),
  h("p", { class: "quiet", text: t("key.role", { role: t(`key.role.${app.config.role}`) }) }),
  h("div", { class: "buttons" },
    api.key.get() && h("button", { value: "forget", class: "text", text: t("key.forget") }),
    h("button", { value: "cancel", formnovalidate: true, text: t("key.cancel") }),
    h("button", { value: "use", class: "primary", text: t("key.use") })));
  dialog.replaceChildren(form);
  // Return in the field uses the key.
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    form.requestSubmit(form.querySelector('[value="use"]'));
  });
  dialog.showModal();
  input.focus();
  sayWhy(why);
}

/** Why a key is asked for; said to screen readers each time, the same words too. */
function sayWhy(why) {
  const [text, input] = [$("#key-why"), $("#key")];
  text.textContent = "";
  text.hidden = !why;
  input.setAttribute("aria-invalid", String(why === t("key.unknown")));
  if (why) requestAnimationFrame(() => (text.textContent = why));
}

$("#key-open").addEventListener("click", () => askForKey());
api.whenUnauthorized((sent) => {
  const why = t(sent ? "key.unknown" : "key.needed");
  if ($("#key-dialog").open) sayWhy(why);
  else askForKey(why);
});

// The service and its index

/** The last index that was chosen: an opening that is overtaken ends. */
let opening = null;

async function checkHealth() {
  const state = await api.health();
  $("#health").dataset.state = state;
  $("#health-text").textContent = t(`status.${state}`);
  $("#health").title = t(`status.${state}`);
}

/** Asks the service what it has and what this key may do; gives the problem where there is one. An index that is open stays, with all work on it. */
async function start() {
  checkHealth();
  let config, service;
  try {
    config = await api.config();
    service = await api.indexes();
  } catch (problem) {
    if (problem.status !== 401 && !app.index) {
      $("#answer").replaceChildren(h("div", { class: "error", role: "alert" }, h("h2", { text: t("app.failed") }), h("p", { text: problem.message }),
        h("button", { type: "button", text: t("locate.retry"), on: { click: start } })));
    }
    return problem;
  }
  const couldWrite = may("write");
  Object.assign(app, { config, service });
  const { indexes } = service;
  const select = $("#index");
  select.replaceChildren(...indexes.map((index) => h("option", { value: index.name, text: index.name })));
  select.disabled = indexes.length < 2;
  const same = indexes.find((index) => index.name === app.index?.name && index.positions.kind === app.index.positions.kind);
  if (same) keepIndex(same, couldWrite);
  else openIndex(indexes[0].name);
  return null;
}

/** Another key for the index that is open. */
function keepIndex(index, couldWrite) {
  app.index = index;
  $("#index").value = index.name;
  if (may("write") !== couldWrite) openPlaces();
  if (tabOpen() === "places") showHealth();
  refreshPlaces();
}

$("#index").addEventListener("change", (event) => openIndex(event.target.value));

async function openIndex(name) {
  const index = app.service.indexes.find((index) => index.name === name) ?? app.service.indexes[0];
  if (isDrawing()) setDrawing(false);
  app.index = index;
  app.frame = frameOf(index);
  $("#index").value = index.name;
  $("#index-count").textContent = t("app.images", { count: index.images });
  forgetPlaces();
  clearAnswer();
  clearBatch();
  app.map ??= new PlaceMap($("#map"), {
    onPlaces: openPlacePopup,
    onMove: () => places.partly && refreshPlaces(),
  });
  const own = (opening = {});
  await openMap();
  // Another index was chosen meanwhile.
  if (own !== opening) return;
  for (const tool of ["#map-fit", "#map-draw"]) $(tool).hidden = !app.map.map;
  openFloor();
  openFilters();
  offerAgain(false);
  openBatch(() => (openTab("batch"), choose()), () => folder.click(), openTab);
  openPlaces();
  if (tabOpen() === "places") showHealth();
  await refreshPlaces();
}

/** Draws the map of the chosen index; where it cannot be drawn, the reason is in its place. */
async function openMap() {
  const { frame, map } = app;
  note("");
  showMap();
  if (frame.kind === "none") return map.close();
  try {
    await map.open(frame, app.config.tiles);
    map.pressed = mapPressed;
  } catch (error) {
    console.warn(error);
    map.close();
    note(error.name === "GPUInitializationError" ? t("app.noWebgl") : t("map.failed", { reason: error.message }));
  }
}

/** Whether there is a map: not without positions, and of an empty index only where a place is added. */
function showMap() {
  const shown = app.frame.kind !== "none" && (places.total > 0 || (tabOpen() === "places" && may("write")));
  $(".layout").classList.toggle("no-map", !shown);
}

async function refreshPlaces() {
  try {
    await loadPlaces();
  } catch (problem) {
    if (problem.name !== "AbortError") toast(problem.message, [], "error");
  }
}

function note(text) {
  $("#map-note").textContent = text;
  $("#map-note").hidden = !text;
}

function drawPlaces() {
  app.map?.showPlaces(places.all.filter(passes));
}

on("places", () => {
  $("#index-count").textContent = t("app.images", { count: places.total });
  listKnownTags();
  drawPlaces();
  listPlaces();
  showMap();
  showHint();
  if (app.map.map) note(places.partly && places.all.length < places.total ? t("places.partly", { shown: places.all.length, count: places.total }) : "");
});
on("loading", (progress) => app.map.map && note(t("places.loading", progress)));
on("filters", () => {
  drawPlaces();
  listPlaces();
});

on("answered", () => offerAgain(Boolean(currentPhoto())));
on("adding", () => openTab("places", true));
on("again", () => currentPhoto() && locatePhoto(currentPhoto()));

$("#map-fit").addEventListener("click", () => app.map?.fitAll());
$("#map-draw").addEventListener("click", () => setDrawing(!isDrawing()));
setInterval(() => document.visibilityState === "visible" && checkHealth(), 30_000);
openTab("locate");
start();
