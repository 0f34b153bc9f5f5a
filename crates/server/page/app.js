// What all parts share: the service, the chosen index, its map and its places.

import * as api from "./api.js";

export const app = {
  /** Of /page/config.json: {role, tiles}. */
  config: { role: "none", tiles: null },
  /** Of /v1/indexes. */
  service: null,
  index: null,
  frame: null,
  map: null,
  events: new EventTarget(),
};

export const may = (role) => ["none", "read", "write", "admin"].indexOf(app.config.role) >= ["none", "read", "write", "admin"].indexOf(role);
export const emit = (name, detail) => app.events.dispatchEvent(new CustomEvent(name, { detail }));
export const on = (name, handler) => app.events.addEventListener(name, (event) => handler(event.detail));

/** Places of the chosen index that are on the map. */
export const places = { all: [], byId: new Map(), total: 0, partly: false, tags: new Set() };

/** An index of more places than this is loaded by what the map shows. */
const ALL = 60_000;
const IN_VIEW = 15_000;
const PAGE = 5000;

let loading = null;

/** A place as the parts of the page see it; `at` is its point of the map. */
const placeOf = ({ id, place }) => ({
  id, name: place.name, position: place.position ?? null, at: app.frame.toMap(place.position), heading: place.heading, time: place.time, tags: place.tags ?? {},
});

/** Loads the places; of a large index only those that the map shows. */
export async function loadPlaces() {
  loading?.abort();
  loading = new AbortController();
  const { signal } = loading;
  const large = app.index.images > ALL;
  places.partly = large;
  places.total = app.index.images;
  const parameters = { index: app.index.name, limit: PAGE };
  if (large && app.map?.map) {
    const bounds = app.map.map.getBounds();
    parameters.bbox = app.frame.bbox(bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth());
  }
  const found = [];
  let after = null;
  do {
    const page = await api.places({ ...parameters, after }, signal);
    found.push(...page.places.map(placeOf));
    after = page.next;
    if (after) emit("loading", { shown: found.length, count: app.index.images });
  } while (after && found.length < (large ? IN_VIEW : ALL + PAGE));
  if (!large) places.total = found.length;
  keep(found);
}

/** Another index is opened. */
export function forgetPlaces() {
  loading?.abort();
  Object.assign(places, { all: [], byId: new Map(), total: app.index.images, partly: false, tags: new Set() });
}

function keep(found) {
  places.all = found;
  places.byId = new Map(found.map((place) => [place.id, place]));
  places.tags = new Set(found.flatMap((place) => Object.entries(place.tags).map(([key, value]) => `${key}=${value}`)));
  emit("places");
}

/** A place was added or replaced here. */
export function placeAdded(added) {
  if (!places.byId.has(added.id)) places.total += 1;
  keep([placeOf(added), ...places.all.filter((other) => other.id !== added.id)]);
}

export function placeRemoved(id) {
  places.total -= 1;
  keep(places.all.filter((place) => place.id !== id));
}
