// The places of an index: what it is, how the service is, what is added and removed.

import { Marker } from "./vendor/maplibre-gl/maplibre-gl.mjs";
import * as api from "./api.js";
import { app, may, placeAdded, placeRemoved, places } from "./app.js";
import { passes } from "./filters.js";
import { t } from "./texts.js";
import { $, announce, baseName, bytes, compass, day, duration, h, icon, svg, toast } from "./util.js";

const LISTED = 25;

let view = {};
let pin = null;
let photo = null;
let listed = LISTED;

export function openPlaces() {
  removePin();
  photo = null;
  view = {
    facts: h("dl", { class: "facts" }),
    health: h("dl", { class: "facts" }),
    list: h("ul", {}),
    count: h("span", { class: "quiet num" }),
    more: h("button", { type: "button", text: t("places.more"), on: { click: () => ((listed += LISTED), listPlaces()) } }),
    search: h("input", { type: "search", id: "find", placeholder: t("places.search"), "aria-label": t("places.search"), on: { input: () => ((listed = LISTED), listPlaces()) } }),
  };
  const section = (title, ...children) => h("section", { class: "section" }, h("h2", { text: t(title) }), children);
  $("#pane-places").replaceChildren(
    section("places.statistics", view.facts),
    section("places.health", view.health),
    may("write") ? section("places.add", addForm()) : h("p", { class: "quiet", text: t("places.readOnly") }),
    h("section", { class: "section" }, h("div", { class: "list-head" }, h("h2", { text: t("places.list") }), view.count), view.search, view.list, view.more));
  statistics();
  listPlaces();
}

/** More characters than these are scrolled, by keyboard too. */
const LONG = 160;

const facts = (list, rows) =>
  list.replaceChildren(...rows.filter(([, value]) => value !== null && value !== undefined && value !== "")
    .flatMap(([name, value]) => [h("dt", { text: t(name) }), h("dd", { text: value, tabindex: String(value).length > LONG ? "0" : null })]));

function statistics() {
  const { index, frame } = app;
  const extent = !index.extent ? null
    : frame.kind === "local" ? `${frame.format(index.extent.min)} – ${frame.format(index.extent.max)}`
      : `${frame.format(index.extent.south_west)} – ${frame.format(index.extent.north_east)}`;
  facts(view.facts, [
    ["places.images", places.total.toLocaleString("en")], ["places.changes", index.changes?.toLocaleString("en")], ["places.created", index.created?.slice(0, 10)],
    ["places.size", bytes(index.bytes)], ["places.model", index.model.name], ["places.input", `${index.input.width} × ${index.input.height}`],
    ["places.positions", t(`places.kind.${index.positions.kind}`)], ["places.extent", extent],
  ]);
}

/** Figures of the service; asked for when they are looked at. */
export async function showHealth() {
  const rows = [["places.version", app.service.version], ["places.role", t(`key.role.${app.config.role}`)]];
  try {
    const figures = parseMetrics(await api.metrics());
    const value = (name) => figures.get(name)?.[0]?.value;
    if (value("r2former_uptime_seconds") !== undefined) rows.push(["places.uptime", duration(value("r2former_uptime_seconds"))]);
    if (value("r2former_queue_waiting") !== undefined) rows.push(["places.queue", `${value("r2former_queue_waiting")} / ${value("r2former_queue_running")}`]);
    if (value("process_resident_memory_bytes")) rows.push(["places.memory", bytes(value("process_resident_memory_bytes"))]);
    const asked = (figures.get("r2former_http_requests_total") ?? []).filter(({ labels }) => labels.includes('route="/v1/locate"'));
    const answered = asked.filter(({ labels }) => labels.includes('status="200"'));
    if (answered.length) rows.push(["places.answered", answered.reduce((sum, { value }) => sum + value, 0).toLocaleString("en")]);
    const median = medianOf(figures.get("r2former_http_request_duration_seconds_bucket") ?? []);
    if (median) rows.push(["places.median", median]);
  } catch {
    // The rest is worth showing without.
  }
  facts(view.health, rows);
}

function parseMetrics(text) {
  const figures = new Map();
  for (const line of text.split("\n")) {
    const found = /^([a-z_0-9]+)(\{.*\})? ([-+0-9.eEINnaf]+)$/.exec(line);
    if (found) figures.set(found[1], [...(figures.get(found[1]) ?? []), { labels: found[2] ?? "", value: Number(found[3]) }]);
  }
  return figures;
}

function medianOf(buckets) {
  const own = buckets.filter(({ labels }) => labels.includes('route="/v1/locate"'));
  const all = Math.max(0, ...own.map(({ value }) => value));
  const bucket = all && own.find(({ value }) => value * 2 >= all);
  const bound = bucket && /le="([^"]+)"/.exec(bucket.labels)?.[1];
  return bound && bound !== "+Inf" ? `${bound} s` : null;
}

function addForm() {
  const { frame } = app;
  const positions = frame.kind !== "none";
  const local = frame.kind === "local";
  const [first, second] = frame.fields;
  const input = (id, type, attributes = {}) => h("input", { id: `new-${id}`, type, ...attributes });
  const field = (label, control) => h("label", { class: "field" }, h("span", { text: t(label) }), control);
  const number = (id) => input(id, "number", { step: "any", inputmode: "decimal", on: { change: pinTyped } });
  view.file = h("input", { type: "file", class: "hidden", id: "new-file", accept: "image/*,.heic,.heif,.tif,.tiff", tabindex: "-1", "aria-label": t("places.choosePhoto"), on: { change: () => pick(view.file.files[0]) } });
  view.picked = h("div", { class: "picked" });
  view.first = number("first");
  view.second = number("second");
  view.fromPhoto = h("input", { type: "radio", name: "where", value: "exif", checked: !local, disabled: local, on: { change: whereChanged } });
  view.fromMap = h("input", { type: "radio", name: "where", value: "map", checked: local, on: { change: whereChanged } });
  view.numbers = h("div", { class: "row", hidden: true }, field(`filter.${first}`, view.first), field(`filter.${second}`, view.second));
  view.hint = h("p", { class: "quiet", hidden: true, text: t("places.pin") });
  view.heading = input("heading", "number", { min: "0", max: "360", step: "any", placeholder: t("places.optional") });
  view.name = input("name", "text", { placeholder: t("places.optional"), autocomplete: "off" });
  view.tags = input("tags", "text", { placeholder: t("places.tagsHint"), autocomplete: "off", autocapitalize: "off" });
  view.submit = h("button", { type: "submit", class: "primary" }, icon("plus"), t("places.submit"));
  const form = h("form", { on: { submit: (event) => (event.preventDefault(), add(false)) } },
    h("p", { class: "quiet", text: t("places.addHelp") }),
    view.file, h("div", { class: "picked" }, h("button", { type: "button", text: t("places.choosePhoto"), on: { click: () => view.file.click() } }), view.picked),
    positions && h("fieldset", {}, h("legend", { text: t("places.position") }),
      !local && h("label", { class: "check" }, view.fromPhoto, t("places.fromPhoto")), h("label", { class: "check" }, view.fromMap, t("places.fromMap"))),
    view.hint, view.numbers,
    h("div", { class: "row" }, field("places.headingField", view.heading), field("places.tagsField", view.tags)),
    field("places.name", view.name),
    h("div", { class: "buttons" }, view.submit));
  if (positions) queueMicrotask(whereChanged);
  return form;
}

function pick(file) {
  photo = file ?? null;
  view.picked.replaceChildren();
  if (!photo) return;
  const url = URL.createObjectURL(photo);
  const img = h("img", { src: url, alt: "", on: { load: () => URL.revokeObjectURL(url) } });
  img.addEventListener("error", () => img.remove());
  view.picked.append(img, h("span", { class: "name", text: photo.name }));
}

/** Photographs that are dropped while this pane is open are for adding. */
export function pickForAdding(file) {
  if (view.picked) pick(file);
}

const wantsPin = () => Boolean(view.fromMap?.checked) && app.frame.kind !== "none";

function whereChanged() {
  view.numbers.hidden = view.hint.hidden = !wantsPin();
  if (!wantsPin()) removePin();
}

function pinTyped() {
  const [first, second] = app.frame.fields;
  const values = [view.first, view.second].map((input) => (input.value.trim() === "" ? NaN : Number(input.value)));
  const at = values.every(Number.isFinite) ? app.frame.toMap({ [first]: values[0], [second]: values[1] }) : null;
  if (at && Math.abs(at[1]) <= 90) setPin(at, true);
}

/** The map was pressed; true if that was for the pin. */
export function mapPressed(at) {
  if ($("#pane-places").hidden || !wantsPin()) return false;
  setPin(at, false);
  return true;
}

function setPin(at, typed) {
  if (!app.map?.map) return;
  if (!pin) {
    const element = h("div", { class: "new-pin", role: "img", "aria-label": t("map.newPin") });
    element.append(svg("svg", { viewBox: "0 0 24 30" }, svg("path", { d: "M12 1.5a9.5 9.5 0 0 1 9.5 9.5c0 7-9.5 17.5-9.5 17.5S2.5 18 2.5 11A9.5 9.5 0 0 1 12 1.5z" })));
    pin = new Marker({ element, anchor: "bottom", draggable: true, opacityWhenCovered: "1" });
    pin.on("drag", writePin);
  }
  pin.setLngLat(at).addTo(app.map.map);
  if (typed) app.map.flyTo([at]);
  else writePin();
}

function writePin() {
  const [first, second] = app.frame.fields;
  const position = app.frame.fromMap(pin.getLngLat().toArray());
  view.first.value = String(position[first]);
  view.second.value = String(position[second]);
}

export function removePin() {
  pin?.remove();
  pin = null;
}

async function add(replace) {
  if (!photo) return toast(t("places.needPhoto"), [], "error");
  let position = null;
  if (wantsPin()) {
    if (view.first.value === "" || view.second.value === "") return toast(t("places.needPin"), [], "error");
    position = `${Number(view.first.value)},${Number(view.second.value)}`;
  }
  const tags = view.tags.value.split(",").map((tag) => tag.trim()).filter(Boolean);
  if (tags.some((tag) => tag.indexOf("=") < 1)) return toast(t("filter.badTag"), [], "error");
  view.submit.disabled = true;
  announce(t("places.adding"));
  try {
    const added = await api.addPlace(photo, {
      index: app.index.name, position, heading: view.heading.value, name: view.name.value.trim(), tag: tags, replace: replace ? "true" : null,
    });
    const { name } = photo;
    placeAdded(added);
    removePin();
    pick(null);
    for (const input of [view.file, view.first, view.second, view.heading, view.name, view.tags]) input.value = "";
    const said = [t(added.added || replace ? "places.added" : "places.same", { name }), ...added.notes];
    toast(said.join(" "), [{ label: t("places.remove"), run: () => remove(added.id) }]);
    const at = app.frame.toMap(added.place.position);
    if (at) app.map?.flyTo([at]);
  } catch (problem) {
    toast(problem.message, problem.status === 409 ? [{ label: t("places.replace"), run: () => add(true) }] : [], "error");
  } finally {
    view.submit.disabled = false;
  }
}

async function remove(id) {
  const name = baseName(places.byId.get(id)?.name ?? id);
  try {
    await api.removePlace(id, app.index.name);
    placeRemoved(id);
    app.map?.closePopup();
    if (document.activeElement === document.body) ($("#pane-places").hidden ? app.map.map?.getCanvas() : view.search)?.focus();
    toast(t("places.removed", { name }));
  } catch (problem) {
    toast(problem.message, [], "error");
  }
}

/** Asks, and removes. */
function confirmRemove(id) {
  const dialog = $("#confirm");
  const name = baseName(places.byId.get(id)?.name ?? id);
  const form = h("form", { method: "dialog", on: { submit: (event) => event.submitter?.value === "yes" && remove(id) } },
    h("h2", { id: "confirm-title", text: t("places.confirm", { name }) }),
    h("div", { class: "buttons" }, h("button", { value: "no", text: t("places.confirmNo") }), h("button", { value: "yes", class: "danger" }, icon("trash"), t("places.confirmYes"))));
  dialog.replaceChildren(form);
  dialog.showModal();
}

/** Whether this key may remove a place: those that were added here, or any. */
const removable = (place) => may("admin") || (may("write") && place.name.startsWith("uploads/"));

/** The list below, of what the filters let pass. */
export function listPlaces() {
  if (!view.list) return;
  const wanted = view.search.value.trim().toLowerCase();
  const found = places.all.filter((place) => passes(place) && (!wanted || place.name.toLowerCase().includes(wanted)));
  const shown = found.slice(0, listed);
  view.count.textContent = t("places.listed", { shown: shown.length, count: found.length });
  view.more.hidden = shown.length === found.length;
  const focus = focusIn(view.list);
  view.list.replaceChildren(...(shown.length ? shown.map(row) : [h("li", { class: "quiet", text: t("places.empty") })]));
  focus();
  statistics();
}

/** Rows are made again: the focus stays at its row, or goes to the one in its place. Gives what puts it there. */
function focusIn(list) {
  const focused = document.activeElement;
  const at = [...list.children].findIndex((item) => item.contains(focused));
  if (at < 0) return () => {};
  const { id } = list.children[at].dataset;
  const control = focused.classList.contains("show") ? ".show" : ".icon-only";
  return () => {
    const rows = [...list.children];
    const row = rows.find((item) => item.dataset.id === id) ?? rows[Math.min(at, rows.length - 1)];
    ($(control, row) ?? $(".show", row) ?? view.search).focus();
  };
}

function row(place) {
  const name = baseName(place.name);
  const img = h("img", { alt: "", loading: "lazy" });
  img.addEventListener("error", () => img.removeAttribute("src"));
  api.thumbnail(img, place.id, app.index.name, 128);
  const { position } = place;
  return h("li", { class: "place", "data-id": place.id }, img,
    h("button", { type: "button", class: "show", title: t("places.show", { name }), on: { click: () => place.at && (app.map?.flyTo([place.at]), openPlacePopup([place.id], place.at)) } },
      h("span", { class: "name", text: name, title: place.name }), h("span", { class: "num", text: position ? app.frame.format(position) : t("match.noPosition") })),
    removable(place) && h("button", { type: "button", class: "text icon-only", "aria-label": t("places.removeName", { name }), title: t("places.remove"), on: { click: () => confirmRemove(place.id) } }, icon("trash")));
}

/** What is known of the places at one point of the map. */
export function openPlacePopup(ids, at) {
  const here = ids.map((id) => places.byId.get(id)).filter(Boolean);
  if (!here.length || !app.map?.map) return;
  const picture = h("img", { class: "big", alt: "" });
  const name = h("p", { class: "name" });
  const folder = h("p", { class: "folder" });
  const list = h("dl", { class: "facts" });
  const actions = h("div", { class: "buttons" });
  const strip = h("div", { class: "strip", role: "group", "aria-label": t("map.placeCount", { count: here.length }) });
  const show = (place) => {
    picture.removeAttribute("src");
    api.thumbnail(picture, place.id, app.index.name, 640);
    picture.alt = place.name;
    name.textContent = baseName(place.name);
    folder.textContent = place.name.slice(0, -baseName(place.name).length);
    facts(list, [
      ["places.position", app.frame.format(place.position)],
      ["places.heading", Number.isFinite(place.heading) ? `${Math.round(place.heading)}° ${compass(place.heading)}` : null],
      ["places.date", Number.isFinite(place.time) ? day(place.time) : null],
      ["places.tagsField", Object.entries(place.tags).map(([key, value]) => `${key}=${value}`).join(", ")],
    ]);
    actions.replaceChildren(...[removable(place) && h("button", { type: "button", class: "text", on: { click: () => confirmRemove(place.id) } }, icon("trash"), t("places.remove"))].filter(Boolean));
    for (const button of strip.children) button.setAttribute("aria-pressed", String(button.dataset.id === place.id));
  };
  for (const place of here.slice(0, 16)) {
    const img = h("img", { alt: "" });
    api.thumbnail(img, place.id, app.index.name, 128);
    strip.append(h("button", { type: "button", "data-id": place.id, "aria-label": place.name, on: { click: () => show(place) } }, img));
  }
  app.map.openPopup(at, h("div", { class: "popup" }, picture, here.length > 1 && strip, name, folder, list, actions));
  show(here[0]);
}

