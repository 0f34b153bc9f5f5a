// The base map that the service was started with: pictures from an address, or a local PMTiles file, of pictures or of vectors.

import { addProtocol, removeProtocol } from "./vendor/maplibre-gl/maplibre-gl.mjs";
import { PmTiles } from "./pmtiles.js";

/** Layers of vector tiles by what the usual schemas (Protomaps, OpenMapTiles, Shortbread) call them. */
const KINDS = [
  ["water", "fill", ["water", "ocean", "water_polygons"]],
  ["green", "fill", ["landuse", "landcover", "park", "land"]],
  ["building", "fill", ["buildings", "building"]],
  ["waterway", "line", ["waterway", "water_lines"]],
  ["road", "line", ["roads", "transportation", "streets"]],
  ["boundary", "line", ["boundaries", "boundary"]],
];

/** Adds the layers of a base map below everything. */
export async function basemap(map, tiles) {
  if (tiles.kind === "url") {
    map.addSource("base", { type: "raster", tiles: [tiles.url], tileSize: 256, maxzoom: 19, attribution: escape(tiles.attribution ?? "") });
    map.addLayer({ id: "base", type: "raster", source: "base" });
    return;
  }
  const file = new PmTiles(new URL(`../${tiles.url}`, import.meta.url));
  const head = await file.head();
  removeProtocol("pmtiles");
  addProtocol("pmtiles", async ({ url }) => {
    const [z, x, y] = url.slice("pmtiles://".length).split("/").map(Number);
    return { data: await file.tile(z, x, y) };
  });
  const source = {
    tiles: ["pmtiles://{z}/{x}/{y}"], minzoom: head.minZoom, maxzoom: head.maxZoom, bounds: head.bounds,
    attribution: escape(tiles.attribution ?? ""),
  };
  if (head.vector) {
    map.addSource("base", { type: "vector", ...source });
    const names = (await file.metadata()).vector_layers?.map((layer) => layer.id) ?? [];
    for (const [kind, type, known] of KINDS) {
      for (const name of known.filter((name) => names.includes(name))) {
        map.addLayer({ id: `base:${kind}:${name}`, type, source: "base", "source-layer": name });
      }
    }
  } else {
    map.addSource("base", { type: "raster", tileSize: 256, ...source });
    map.addLayer({ id: "base", type: "raster", source: "base" });
  }
}

/** Paints the base map quietly, so that places stand out. */
export function recolour(map, colour, dark) {
  if (map.getLayer("base")) {
    map.setPaintProperty("base", "raster-saturation", -0.45);
    map.setPaintProperty("base", "raster-brightness-max", dark ? 0.55 : 1);
    map.setPaintProperty("base", "raster-contrast", dark ? 0 : -0.1);
  }
  const paints = {
    water: dark ? "#17303a" : "#cfdfe3", green: dark ? "#152420" : "#e3e6d6", building: dark ? "#222d30" : "#ddd8cb",
    waterway: dark ? "#1f3d49" : "#bcd3d9", road: dark ? "#344144" : "#fffdf8", boundary: colour("line-strong"),
  };
  for (const layer of map.getStyle().layers) {
    const [, kind] = layer.id.split(":");
    if (!layer.id.startsWith("base:")) continue;
    map.setPaintProperty(layer.id, `${layer.type}-color`, paints[kind]);
    if (kind === "road") map.setPaintProperty(layer.id, "line-width", ["interpolate", ["exponential", 1.6], ["zoom"], 10, 0.6, 18, 9]);
    if (kind === "boundary") map.setPaintProperty(layer.id, "line-dasharray", [3, 2]);
  }
}

/** Attributions are shown as HTML by the map. */
const escape = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
