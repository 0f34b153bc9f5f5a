// Where, when and which: the search area drawn on the map or given as numbers, dates, tags; and how matches are ranked.

import { Marker } from "./vendor/maplibre-gl/maplibre-gl.mjs";
import { app, emit, places } from "./app.js";
import { distance, ellipse, offset } from "./geo.js";
import { t } from "./texts.js";
import { $, announce, h, icon, metres, toast } from "./util.js";

const initial = () => ({ area: "everywhere", centre: null, radius: 200, since: "", until: "", tags: [], rerank: "", top: "5", confidence: "auto" });

export const filters = initial();

let handles = [];
let fields = {};

/** Parameters of /v1/locate. */
export function parameters() {
  const { frame, index } = app;
  const near =
    filters.area === "exif" ? "exif" : filters.area === "circle" && filters.centre ? frame.parameter(frame.fromMap(filters.centre)) : null;
  return {
    index: index.name, top: filters.top, rerank: filters.rerank, near, radius: near ? filters.radius : null,
    since: filters.since, until: filters.until, tag: filters.tags,
    min_confidence: index.model.calibration ? filters.confidence : null,
  };
}

/** Whether the map shows a place. */
export function passes(place) {
  if (filters.tags.some((tag) => place.tags[tag.slice(0, tag.indexOf("="))] !== tag.slice(tag.indexOf("=") + 1))) return false;
  if (!filters.since && !filters.until) return true;
  if (!Number.isFinite(place.time)) return false;
  const date = new Date(place.time * 1000).toISOString().slice(0, 10);
  return (!filters.since || date >= filters.since) && (!filters.until || date <= filters.until);
}

/** Builds the form for the chosen index. */
export function openFilters() {
  Object.assign(filters, initial());
  const { frame, index } = app;
  const local = frame.kind === "local";
  const positions = frame.kind !== "none";
  const change = (name) => ({ change: (event) => ((filters[name] = event.target.value), changed()) });
  const [first, second] = local ? ["x", "y"] : ["lat", "lon"];
  const number = (id, label, attributes) =>
    (fields[id] = h("input", { type: "number", step: "any", inputmode: "decimal", id: `area-${id}`, ...attributes, on: { change: areaTyped } }));
  fields.area = h("select", { id: "area", on: { change: (event) => setArea(event.target.value) } },
    h("option", { value: "everywhere", text: t("filter.everywhere") }),
    h("option", { value: "circle", text: t("filter.circle") }),
    !local && h("option", { value: "exif", text: t("filter.exif") }));
  const field = (label, control) => h("label", { class: "field" }, h("span", { text: t(label) }), control);
  fields.circle = h("div", { class: "row", hidden: true },
    field(`filter.${first}`, number("first", "", {})), field(`filter.${second}`, number("second", "", {})));
  fields.radiusRow = h("div", { class: "row", hidden: true },
    field("filter.radius", number("radius", "", { min: "0.1", value: String(filters.radius) })),
    (fields.draw = h("button", { type: "button", on: { click: () => setDrawing(!drawing) } }, icon("circle"), t("filter.draw"))));
  const tagField = h("input", { type: "text", id: "tag", list: "known-tags", placeholder: "camera=front", autocomplete: "off", autocapitalize: "off",
    on: { keydown: (event) => event.key === "Enter" && (event.preventDefault(), addTag(tagField)), change: (event) => places.tags.has(event.target.value) && addTag(tagField) } });
  fields.chips = h("div", { class: "chips" });
  fields.known = h("datalist", { id: "known-tags" });
  fields.since = h("input", { type: "date", id: "since", on: change("since") });
  fields.until = h("input", { type: "date", id: "until", on: change("until") });
  const methods = index.rerank?.methods ?? [];
  fields.rerank = h("select", { id: "rerank", on: change("rerank") },
    methods.map((method) => h("option", { value: method === index.rerank.default ? "" : method, selected: method === index.rerank.default, text: t(`rerank.${method}`) })));
  fields.top = h("select", { id: "top", on: change("top") }, ["5", "10", "20"].map((top) => h("option", { value: top, text: top })));
  const { calibration } = index.model;
  const percent = (value) => ({ percent: Math.round(value * 100) });
  fields.confidence = calibration && h("select", { id: "least-confidence", on: change("confidence") },
    h("option", { value: "auto", text: t("filter.confidence.auto", percent(calibration.threshold)) }),
    h("option", { value: "", text: t("filter.confidence.any") }),
    [0.5, 0.8, 0.9, 0.95].map((value) => h("option", { value: String(value), text: t("filter.confidence.value", percent(value)) })));
  $("#filter-form").replaceChildren(...[
    positions && field("filter.area", fields.area), fields.circle, fields.radiusRow,
    h("div", { class: "row" }, field("filter.since", fields.since), field("filter.until", fields.until)),
    h("div", { class: "row" }, field("filter.tag", tagField), h("button", { type: "button", text: t("filter.addTag"), on: { click: () => addTag(tagField) } })),
    fields.known, fields.chips,
    h("div", { class: "row" }, field("filter.rerank", fields.rerank), field("filter.top", fields.top)),
    fields.confidence && field("filter.confidence", fields.confidence),
    h("div", { class: "buttons" }, (fields.again = h("button", { type: "button", hidden: true, text: t("filter.again"), on: { click: () => emit("again") } })),
      h("p", { class: "quiet grow", text: t("filter.applies") }), h("button", { type: "button", class: "text", text: t("filter.clear"), on: { click: clearFilters } })),
  ].filter(Boolean));
  $("#filter-form").addEventListener("submit", (event) => event.preventDefault());
  changed();
}

export function listKnownTags() {
  fields.known?.replaceChildren(...[...places.tags].sort().slice(0, 200).map((tag) => h("option", { value: tag })));
}

function addTag(input) {
  const tag = input.value.trim();
  if (!tag) return;
  if (tag.indexOf("=") < 1) return toast(t("filter.badTag"), [], "error");
  if (!filters.tags.includes(tag)) filters.tags.push(tag);
  input.value = "";
  changed();
}

/** How many filters are set, in the heading; the map's places; the circle. */
function changed() {
  fields.chips.replaceChildren(...filters.tags.map((tag) =>
    h("button", { type: "button", class: "chip", "aria-label": t("filter.removeTag", { tag }), on: { click: () => ((filters.tags = filters.tags.filter((other) => other !== tag)), changed()) } }, tag, icon("close"))));
  const count = [filters.area !== "everywhere", filters.since, filters.until].filter(Boolean).length + filters.tags.length;
  $("#filters-state").textContent = count ? t("filter.active", { count }) : t("filter.none");
  fields.area.value = filters.area;
  fields.circle.hidden = filters.area !== "circle";
  fields.radiusRow.hidden = filters.area === "everywhere";
  fields.draw.hidden = filters.area !== "circle";
  drawArea();
  emit("filters");
}

/** Offers to ask about the photograph again. */
export function offerAgain(offered) {
  if (fields.again) fields.again.hidden = !offered;
}

export function clearFilters() {
  Object.assign(filters, initial());
  for (const name of ["since", "until"]) fields[name].value = "";
  fields.rerank.selectedIndex = [...fields.rerank.options].findIndex((option) => option.value === "");
  fields.top.value = filters.top;
  if (fields.confidence) fields.confidence.value = filters.confidence;
  changed();
}

export function setArea(area) {
  filters.area = area;
  if (area === "circle" && !filters.centre && app.map?.map) {
    filters.centre = app.map.map.getCenter().toArray();
    const bounds = app.map.map.getBounds();
    filters.radius = nice(distance(app.frame, bounds.getSouthWest().toArray(), bounds.getNorthEast().toArray()) / 6);
  }
  writeNumbers();
  changed();
}

const nice = (value) => Number(value.toPrecision(2));

function writeNumbers() {
  fields.radius.value = String(filters.radius);
  if (!filters.centre) return;
  const position = app.frame.fromMap(filters.centre);
  const [first, second] = app.frame.fields;
  fields.first.value = String(position[first]);
  fields.second.value = String(position[second]);
}

function areaTyped() {
  const [first, second] = app.frame.fields;
  const read = (input) => (input.value.trim() === "" ? NaN : Number(input.value));
  const centre = app.frame.toMap({ [first]: read(fields.first), [second]: read(fields.second) });
  if (centre && centre.every(Number.isFinite) && Math.abs(centre[1]) <= 90) filters.centre = centre;
  if (read(fields.radius) > 0) filters.radius = read(fields.radius);
  changed();
}

function drawArea() {
  for (const handle of handles) handle.remove();
  handles = [];
  if (!app.map?.map) return;
  const { frame, map } = app;
  if (filters.area !== "circle" || !filters.centre) return map.set("prior", []);
  const shape = () => map.set("prior", [{ type: "Feature", properties: {}, geometry: ellipse(frame, filters.centre, filters.radius) }]);
  const edgeAt = () => offset(frame, filters.centre, filters.radius, 0);
  const handle = (kind, at, label) => {
    const element = h("button", { type: "button", class: `handle ${kind}`, "aria-label": label, tabindex: "-1" });
    const marker = new Marker({ element, draggable: true, opacityWhenCovered: "1" }).setLngLat(at).addTo(map.map);
    handles.push(marker);
    return marker;
  };
  const centre = handle("centre", filters.centre, t("map.prior.centre"));
  const edge = handle("edge", edgeAt(), t("map.prior.edge"));
  centre.on("drag", () => {
    filters.centre = centre.getLngLat().toArray();
    edge.setLngLat(edgeAt());
    shape();
    writeNumbers();
  });
  edge.on("drag", () => {
    filters.radius = Math.max(0.1, nice(distance(frame, filters.centre, edge.getLngLat().toArray())));
    shape();
    writeNumbers();
  });
  for (const marker of [centre, edge]) marker.on("dragend", () => (edge.setLngLat(edgeAt()), emit("filters")));
  shape();
}

let drawing = false;

/** Waits for a press and a drag on the map: the centre and the radius. */
export function setDrawing(wanted) {
  if (!app.map?.map) return;
  const { map } = app.map;
  drawing = wanted;
  app.map.busy = wanted;
  $("#map-draw").setAttribute("aria-pressed", String(wanted));
  $("#map-area").classList.toggle("drawing", wanted);
  $("#map-hint").hidden = !wanted;
  $("#map-hint").textContent = t("filter.drawing");
  if (!wanted) {
    map.dragPan.enable();
    return;
  }
  announce(t("filter.drawing"));
  map.dragPan.disable();
  // The container, before the pins that lie on it.
  const canvas = map.getCanvasContainer();
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return map.unproject([event.clientX - box.left, event.clientY - box.top]).toArray();
  };
  const down = (event) => {
    if (!drawing || event.button) return;
    event.preventDefault();
    event.stopPropagation();
    canvas.setPointerCapture(event.pointerId);
    filters.centre = at(event);
    const move = (event) => {
      filters.radius = Math.max(0.1, nice(distance(app.frame, filters.centre, at(event))));
      app.map.set("prior", [{ type: "Feature", properties: {}, geometry: ellipse(app.frame, filters.centre, filters.radius) }]);
    };
    const up = (event) => {
      canvas.removeEventListener("pointermove", move);
      const box = canvas.getBoundingClientRect();
      const start = map.project(filters.centre);
      const moved = Math.hypot(event.clientX - box.left - start.x, event.clientY - box.top - start.y);
      // A press without a drag keeps the radius of before.
      if (moved > 4) move(event);
      stop();
      setDrawing(false);
      setArea("circle");
      $("#filters").open = true;
      announce(t("filter.areaSet", { metres: metres(filters.radius), position: app.frame.format(app.frame.fromMap(filters.centre)) }));
    };
    canvas.addEventListener("pointermove", move);
    canvas.addEventListener("pointerup", up, { once: true });
  };
  const escape = (event) => event.key === "Escape" && (stop(), setDrawing(false));
  const stop = () => {
    canvas.removeEventListener("pointerdown", down, true);
    removeEventListener("keydown", escape);
  };
  canvas.addEventListener("pointerdown", down, true);
  addEventListener("keydown", escape);
}

export const isDrawing = () => drawing;
