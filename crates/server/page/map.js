// The map: places in clusters, headings as cones, matches as numbered pins, the estimate with its spread. Without a base map
// there is a grid, of degrees or of metres, with its values along the edges.

import {
  Map as GlMap, Marker, NavigationControl, Popup, ScaleControl, setWorkerUrl,
} from "./vendor/maplibre-gl/maplibre-gl.mjs";
import { basemap, recolour as recolourBasemap } from "./basemap.js";
import { boxOf, ellipse } from "./geo.js";
import { drawLabels, gridLines } from "./grid.js";
import { t } from "./texts.js";
import { $, calm, h, svg } from "./util.js";

setWorkerUrl(new URL("./vendor/maplibre-gl/maplibre-gl-worker.mjs", import.meta.url).href);

const EMPTY = { type: "FeatureCollection", features: [] };
const CLUSTER_RADIUS = 46;

/** The world, where nothing says which part of it. */
const WORLD = [[-150, -55], [150, 70]];

/** Colours of the style sheet, for what is drawn by WebGL. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export class PlaceMap {
  constructor(container, { onPlaces, onMove }) {
    this.container = container;
    this.onPlaces = onPlaces;
    this.onMove = onMove;
    this.pins = [];
    this.drawn = null;
    this.padding = 60;
    this.data = { places: EMPTY, estimate: EMPTY, prior: EMPTY, track: EMPTY };
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.scheme.addEventListener("change", () => this.recolour());
  }

  /** Draws the map of an index; what was drawn of another one is gone. */
  async open(frame, tiles) {
    this.close();
    this.frame = frame;
    this.base = frame.kind === "local" ? null : tiles;
    for (const name of Object.keys(this.data)) this.data[name] = EMPTY;
    this.clusterZoom = this.zoomOfExtent();
    this.map = new GlMap({
      container: this.container,
      style: { version: 8, sources: {}, layers: [{ id: "paper", type: "background", paint: { "background-color": colour("paper") } }] },
      bounds: frame.extent ?? WORLD,
      fitBoundsOptions: { padding: this.padding, maxZoom: this.clusterZoom + 1 },
      maxZoom: 24,
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      rollEnabled: false,
      renderWorldCopies: frame.kind !== "local",
      attributionControl: this.base ? { compact: true } : false,
      fadeDuration: 0,
      locale: { "Map.Title": t(frame.kind === "local" ? "map.plan" : "map.label"), "Popup.Close": t("map.closePopup"),
        "NavigationControl.ZoomIn": t("map.zoomIn"), "NavigationControl.ZoomOut": t("map.zoomOut") },
    });
    const map = this.map;
    map.touchZoomRotate.disableRotation();
    map.keyboard.disableRotation();
    map.addControl(new NavigationControl({ showCompass: false }), "bottom-right");
    map.addControl(new ScaleControl({ maxWidth: 120 }), "bottom-left");
    map.setMissingStyleImageResolver((id) => this.missingImage(id));
    map.on("move", () => this.drawGrid());
    map.on("resize", () => this.drawGrid());
    map.on("moveend", () => this.onMove(this));
    await new Promise((resolve) => map.once("load", resolve));
    if (map !== this.map) return;
    await this.addLayers();
    this.drawGrid();
  }

  close() {
    this.clearPins();
    this.showPlayhead(null);
    this.popup?.remove();
    this.gridKey = null;
    this.map?.remove();
    this.map = null;
    // A map that could not be made leaves parts of it.
    this.container.replaceChildren();
    const labels = $("#grid-labels");
    labels.getContext("2d").clearRect(0, 0, labels.width, labels.height);
  }

  /** The zoom beyond which places are drawn one by one: somewhat closer than the whole index. */
  zoomOfExtent() {
    if (!this.frame.extent) return 16;
    const [[west, south], [east, north]] = this.frame.extent;
    const span = Math.max(east - west, north - south, 1e-6);
    const whole = Math.log2((360 / span) * (Math.min(innerWidth, innerHeight) / 512));
    return Math.round(Math.min(21, Math.max(15, whole + 1.2)));
  }

  async addLayers() {
    const { map } = this;
    if (this.base) await basemap(map, this.base);
    const geojson = (extra) => ({ type: "geojson", data: EMPTY, ...extra });
    map.addSource("grid", geojson());
    map.addSource("track", geojson());
    map.addSource("prior", geojson());
    map.addSource("estimate", geojson());
    map.addSource("places", geojson({
      cluster: true, clusterRadius: CLUSTER_RADIUS, clusterMaxZoom: this.clusterZoom - 1, maxzoom: this.clusterZoom,
    }));
    const layer = (id, type, source, rest) => map.addLayer({ id, type, source, ...rest });
    layer("grid", "line", "grid", { layout: { visibility: this.base ? "none" : "visible" } });
    layer("prior-fill", "fill", "prior");
    layer("prior-line", "line", "prior");
    layer("clusters", "circle", "places", { filter: ["has", "point_count"] });
    layer("counts", "symbol", "places", {
      filter: ["has", "point_count"],
      layout: { "icon-image": ["concat", "n:", ["to-string", ["get", "point_count_abbreviated"]]], "icon-allow-overlap": true, "icon-ignore-placement": true },
    });
    layer("cones", "symbol", "places", {
      filter: ["all", ["!", ["has", "point_count"]], ["has", "heading"]],
      layout: { "icon-image": "cone", "icon-rotate": ["get", "heading"], "icon-rotation-alignment": "map", "icon-allow-overlap": true, "icon-ignore-placement": true,
        "icon-size": ["interpolate", ["linear"], ["zoom"], this.clusterZoom - 1, 0.55, this.clusterZoom + 2, 1.15] },
    });
    layer("points", "circle", "places", { filter: ["!", ["has", "point_count"]] });
    layer("estimate-fill", "fill", "estimate");
    layer("estimate-line", "line", "estimate");
    layer("track-line", "line", "track");
    layer("track-points", "circle", "track", { filter: ["==", ["geometry-type"], "Point"] });
    this.recolour();
    for (const name of Object.keys(this.data)) map.getSource(name)?.setData(this.data[name]);
    for (const id of ["clusters", "points"]) {
      map.on("mouseenter", id, () => (map.getCanvas().style.cursor = "pointer"));
      map.on("mouseleave", id, () => (map.getCanvas().style.cursor = ""));
    }
    map.on("click", (event) => this.click(event));
  }

  /** Paints everything in the colours of the page, light or dark. */
  recolour() {
    const { map } = this;
    if (!map?.getLayer("points")) return;
    const paint = (id, properties) => {
      for (const [name, value] of Object.entries(properties)) map.setPaintProperty(id, name, value);
    };
    const scale = parseFloat(getComputedStyle(document.documentElement).fontSize) / 15;
    const sizes = [0.3, 12, 1, 15, 2, 20, 4, 30].map((value, i) => (i % 2 ? value * scale : value));
    recolourBasemap(map, colour, this.scheme.matches);
    paint("paper", { "background-color": colour("paper") });
    paint("grid", { "line-color": ["case", ["get", "strong"], colour("grid-strong"), colour("grid")], "line-width": 1 });
    paint("prior-fill", { "fill-color": colour("prior"), "fill-opacity": 0.08 });
    paint("prior-line", { "line-color": colour("prior"), "line-width": 1.8, "line-dasharray": [3, 2] });
    paint("clusters", {
      "circle-color": colour("place"), "circle-opacity": 0.92, "circle-stroke-color": colour("panel"), "circle-stroke-width": 2,
      "circle-radius": ["interpolate", ["linear"], ["log10", ["get", "point_count"]], ...sizes],
    });
    paint("points", { "circle-color": colour("place"), "circle-radius": 4.5 * scale, "circle-stroke-color": colour("panel"), "circle-stroke-width": 1.5 });
    paint("estimate-fill", { "fill-color": colour("answer"), "fill-opacity": 0.14 });
    paint("estimate-line", { "line-color": colour("answer"), "line-width": 1.8 });
    paint("track-line", { "line-color": colour("answer"), "line-width": 1.5, "line-opacity": 0.7 });
    paint("track-points", { "circle-color": colour("answer"), "circle-radius": 5, "circle-stroke-color": colour("panel"), "circle-stroke-width": 1.5 });
    for (const id of map.listImages()) {
      map.removeImage(id);
      this.missingImage(id);
    }
    this.gridKey = null;
    this.drawGrid();
  }

  /** Images that layers ask for: the number of a cluster, and the cone of a heading. */
  missingImage(id) {
    const image = id === "cone" ? coneImage(colour("place")) : id.startsWith("n:") ? countImage(id.slice(2), colour("panel")) : null;
    if (image && !this.map.hasImage(id)) this.map.addImage(id, image, { pixelRatio: 2 });
  }

  drawGrid() {
    const { map } = this;
    if (!map?.getSource("grid")) return;
    if (this.base) return;
    const grid = gridLines(map, this.frame);
    if (grid.key !== this.gridKey) {
      this.gridKey = grid.key;
      map.getSource("grid").setData(grid.lines);
    }
    drawLabels($("#grid-labels"), map, grid, colour);
  }

  set(name, features) {
    this.data[name] = { type: "FeatureCollection", features };
    this.map?.getSource(name)?.setData(this.data[name]);
  }

  /** All places: `[{id, at, heading}]`. */
  showPlaces(places) {
    this.set("places", places.filter((place) => place.at).map(({ id, at, heading }) => ({
      type: "Feature",
      geometry: { type: "Point", coordinates: at },
      properties: Number.isFinite(heading) ? { id, heading } : { id },
    })));
  }

  click(event) {
    if (this.busy || this.pressed?.(event.lngLat.toArray())) return;
    const { map } = this;
    const around = [[event.point.x - 6, event.point.y - 6], [event.point.x + 6, event.point.y + 6]];
    const found = map.queryRenderedFeatures(around, { layers: ["points", "clusters"] });
    const points = found.filter((feature) => feature.properties.id);
    if (points.length) {
      const ids = [...new Set(points.map((feature) => feature.properties.id))];
      this.onPlaces(ids, points[0].geometry.coordinates);
    } else if (found.length) {
      const [cluster] = found;
      map.getSource("places").getClusterExpansionZoom(cluster.properties.cluster_id).then((zoom) => {
        map.easeTo({ center: cluster.geometry.coordinates, zoom: Math.max(zoom, map.getZoom() + 1), duration: calm() ? 0 : 450 });
      }, () => {});
    }
  }

  openPopup(at, content) {
    this.popup?.remove();
    if (!this.map) return;
    this.popup = new Popup({ maxWidth: "none", offset: 12, focusAfterOpen: true }).setLngLat(at).setDOMContent(content).addTo(this.map);
    // On a small map it may reach beyond the edges; the map moves so that it does not.
    const popup = this.popup;
    const fit = () => {
      if (popup !== this.popup || !popup.isOpen()) return;
      const [outer, inner] = [this.container, this.popup.getElement()].map((element) => element.getBoundingClientRect());
      const beyond = (low, high, least, most) => (low < least ? low - least : high > most ? Math.min(high - most, low - least) : 0);
      const by = [beyond(inner.left, inner.right, outer.left + 8, outer.right - 8), beyond(inner.top, inner.bottom, outer.top + 8, outer.bottom - 8)];
      if (by.some(Boolean)) this.map.panBy(by, { duration: calm() ? 0 : 300 });
    };
    requestAnimationFrame(() => (this.map.isMoving() ? this.map.once("moveend", fit) : fit()));
  }

  closePopup() {
    this.popup?.remove();
  }

  /** Pins of matches: `[{at, rank, name}]`; those at one position share a pin. */
  showMatches(matches, guesses, onSelect) {
    this.clearPins();
    const groups = new Map();
    for (const match of matches.filter((match) => match.at)) {
      const where = match.at.map((value) => value.toFixed(7)).join();
      groups.set(where, [...(groups.get(where) ?? []), match]);
    }
    for (const group of [...groups.values()].reverse()) {
      const ranks = group.map((match) => match.rank);
      const best = ranks[0] === 1;
      const element = h("button", {
        type: "button",
        class: `pin${best ? " best" : ""}${guesses ? " guess" : ""}`,
        text: ranks.length > 3 ? `${ranks[0]}+` : ranks.join("·"),
        "aria-label": t("map.pin", { count: ranks.length, ranks: ranks.join(", "), name: group[0].name }),
        on: { click: (event) => (event.stopPropagation(), onSelect(ranks[0])) },
      });
      this.pins.push({ ranks, element, marker: new Marker({ element, opacityWhenCovered: "1" }).setLngLat(group[0].at).addTo(this.map) });
    }
  }

  select(rank) {
    for (const pin of this.pins) pin.element.classList.toggle("selected", pin.ranks.includes(rank));
  }

  /** The estimate: its position, and a shape around it where there is one (`{along, across, degrees}` in metres). */
  showEstimate(at, shape, centre = at, heading = null) {
    this.estimate?.remove();
    const cross = (kind) => svg("path", { class: kind, d: "M20 3v12M20 25v12M3 20h12M25 20h12" });
    const element = h("div", { class: "estimate", role: "img", "aria-label": t("map.estimate") });
    const looks = Number.isFinite(heading) ? [svg("path", { class: "looks", d: "M20 20L8 -14A36 36 0 0 1 32 -14z", transform: `rotate(${heading} 20 20)` })] : [];
    element.append(svg("svg", { viewBox: "0 0 40 40" }, ...looks, cross("halo"), cross("cross")));
    this.estimate = new Marker({ element, opacityWhenCovered: "1" }).setLngLat(at).addTo(this.map);
    const polygon = shape && ellipse(this.frame, centre, shape.along, shape.across, shape.degrees);
    this.set("estimate", polygon ? [{ type: "Feature", geometry: polygon, properties: {} }] : []);
    return polygon;
  }

  clearPins() {
    for (const { marker } of this.pins) marker.remove();
    this.pins = [];
    this.estimate?.remove();
    this.estimate = null;
    if (this.map?.getSource("estimate")) this.set("estimate", []);
  }

  /** Positions of several photographs; those of a sequence are joined. */
  showTrack(points, joined) {
    const feature = (type, coordinates, properties) => ({ type: "Feature", geometry: { type, coordinates }, properties });
    const line = joined && points.length > 1 ? [feature("LineString", points.map(({ at }) => at), {})] : [];
    this.set("track", [...line, ...points.map(({ at, name }) => feature("Point", at, { name }))]);
    if (!points.length) this.showPlayhead(null);
  }

  /** Where the chosen frame of a sequence was. */
  showPlayhead(at) {
    this.playhead?.remove();
    this.playhead = null;
    if (!at || !this.map) return;
    const element = h("div", { class: "playhead", role: "img", "aria-label": t("map.playhead") });
    this.playhead = new Marker({ element, opacityWhenCovered: "1" }).setLngLat(at).addTo(this.map);
    if (!this.map.isMoving() && !this.map.getBounds().contains(at)) this.map.panTo(at, { duration: calm() ? 0 : 300 });
  }

  /** Moves so that the points are seen. */
  flyTo(points, { closest = this.clusterZoom + 1.5 } = {}) {
    const box = boxOf(points);
    if (!box || !this.map) return;
    const size = Math.min(this.container.clientWidth, this.container.clientHeight);
    const padding = Math.min(90, size / 5);
    const camera = this.map.cameraForBounds(box, { padding, maxZoom: closest });
    if (!camera) return;
    if (calm()) this.map.jumpTo(camera);
    else this.map.flyTo({ ...camera, duration: 1100, essential: false });
  }

  fitAll() {
    const all = this.frame?.extent ?? boxOf(this.data.places.features.map(({ geometry }) => geometry.coordinates)) ?? WORLD;
    this.flyTo(all, { closest: this.clusterZoom + 1 });
  }

  /** A picture below the places, in the metres of a plan. */
  showFloor(canvas, [west, south, east, north]) {
    const { map, frame } = this;
    if (map.getLayer("floor")) map.removeLayer("floor");
    if (map.getSource("floor")) map.removeSource("floor");
    if (!canvas) return;
    const corner = (x, y) => frame.toMap({ x, y });
    map.addSource("floor", {
      type: "canvas", canvas, animate: false,
      coordinates: [corner(west, north), corner(east, north), corner(east, south), corner(west, south)],
    });
    map.addLayer({ id: "floor", type: "raster", source: "floor", paint: { "raster-opacity": 0.85, "raster-fade-duration": 0 } }, "prior-fill");
  }
}

function canvasOf(width, height) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  return [context, () => context.getImageData(0, 0, width, height)];
}

/** A cone of 60 degrees that looks up, around the middle. */
function coneImage(fill) {
  const [context, image] = canvasOf(96, 96);
  const gradient = context.createRadialGradient(48, 48, 6, 48, 48, 46);
  gradient.addColorStop(0, fill);
  gradient.addColorStop(1, `${fill}00`);
  context.fillStyle = gradient;
  context.beginPath();
  context.moveTo(48, 48);
  context.arc(48, 48, 46, (-120 * Math.PI) / 180, (-60 * Math.PI) / 180);
  context.fill();
  return image();
}

function countImage(text, fill) {
  const size = Math.round(1.6 * parseFloat(getComputedStyle(document.documentElement).fontSize));
  const width = size + size * 0.7 * text.length;
  const [context, image] = canvasOf(Math.ceil(width), Math.ceil(size * 1.5));
  context.font = `600 ${size}px ${colour("mono")}`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillStyle = fill;
  context.fillText(text, width / 2, size * 0.79);
  return image();
}
