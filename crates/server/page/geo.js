// Positions of an index on the map, and back. A local index in metres is drawn around 0° 0°, where a degree is as long in both
// directions, so that the same map shows a town and the plan of a building.

import { metres as length } from "./util.js";

/** Of the sphere that MapLibre measures on; of the equator of the projection for plans. */
const GLOBE_DEGREE = (Math.PI / 180) * 6371008.8;
const PLAN_DEGREE = 40075016.68557849 / 360;

/** How the positions of an index are drawn, written and sent. */
export function frameOf(index) {
  const kind = index?.positions?.kind ?? "none";
  if (kind === "local") return planFrame(index);
  return {
    kind,
    degree: GLOBE_DEGREE,
    toMap: (position) => (position && Number.isFinite(position.lat) ? [position.lon, position.lat] : null),
    fromMap: ([lon, lat]) => ({ lat: round(lat, 7), lon: round(wrap(lon), 7) }),
    format: (position) => `${fixed(position.lat, 6)}, ${fixed(position.lon, 6)}`,
    parameter: (position) => `${position.lat},${position.lon}`,
    fields: ["lat", "lon"],
    bbox: (west, south, east, north) =>
      east - west >= 360 ? `-180,${south},180,${north}` : `${wrap(west)},${south},${wrap(east)},${north}`,
    extent: index?.extent
      ? [
          [index.extent.south_west.lon, index.extent.south_west.lat],
          [index.extent.north_east.lon, index.extent.north_east.lat],
        ]
      : null,
  };
}

function planFrame(index) {
  const { min, max } = index.extent ?? { min: { x: 0, y: 0 }, max: { x: 0, y: 0 } };
  // Far coordinates, such as UTM, are drawn around their middle.
  const shift = [round((min.x + max.x) / 2, -1), round((min.y + max.y) / 2, -1)];
  const toMap = (position) =>
    position && Number.isFinite(position.x)
      ? [(position.x - shift[0]) / PLAN_DEGREE, (position.y - shift[1]) / PLAN_DEGREE]
      : null;
  return {
    kind: "local",
    degree: PLAN_DEGREE,
    shift,
    toMap,
    fromMap: ([lon, lat]) => ({ x: round(lon * PLAN_DEGREE + shift[0], 2), y: round(lat * PLAN_DEGREE + shift[1], 2) }),
    format: (position) => `x ${fixed(position.x, 2)} m, y ${fixed(position.y, 2)} m`,
    parameter: (position) => `${position.x},${position.y}`,
    fields: ["x", "y"],
    bbox: (west, south, east, north) =>
      [west, south, east, north].map((value, i) => round(value * PLAN_DEGREE + shift[i % 2], 2)).join(","),
    extent: index.extent ? [toMap(min), toMap(max)] : null,
  };
}

/** Metres between two points of the map. */
export function distance(frame, a, b) {
  if (frame.kind === "local") return Math.hypot(a[0] - b[0], a[1] - b[1]) * frame.degree;
  const radians = Math.PI / 180;
  const [dLat, dLon] = [(b[1] - a[1]) * radians, (b[0] - a[0]) * radians];
  const s = Math.sin(dLat / 2) ** 2 + Math.cos(a[1] * radians) * Math.cos(b[1] * radians) * Math.sin(dLon / 2) ** 2;
  return 2 * 6371008.8 * Math.asin(Math.min(1, Math.sqrt(s)));
}

/** A point at a distance, by metres to the east and to the north. */
export function offset(frame, [lon, lat], east, north) {
  const stretch = frame.kind === "local" ? 1 : Math.max(0.01, Math.cos((lat * Math.PI) / 180));
  return [lon + east / frame.degree / stretch, lat + north / frame.degree];
}

/** An ellipse as a polygon: half axes in metres, the first turned clockwise from north. */
export function ellipse(frame, centre, along, across = along, degrees = 0) {
  const [sin, cos] = [Math.sin((degrees * Math.PI) / 180), Math.cos((degrees * Math.PI) / 180)];
  const ring = Array.from({ length: 73 }, (_, i) => {
    const angle = (i / 72) * 2 * Math.PI;
    const [u, v] = [along * Math.cos(angle), across * Math.sin(angle)];
    return offset(frame, centre, u * sin + v * cos, u * cos - v * sin);
  });
  return { type: "Polygon", coordinates: [ring] };
}

/** A box around points, or null. */
export function boxOf(points) {
  if (!points.length) return null;
  const box = [[...points[0]], [...points[0]]];
  for (const [x, y] of points) {
    box[0] = [Math.min(box[0][0], x), Math.min(box[0][1], y)];
    box[1] = [Math.max(box[1][0], x), Math.max(box[1][1], y)];
  }
  return box;
}

/** The steps of a grid: 1, 2 or 5 times a power of ten, not smaller than `least`. */
export function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((k) => k * power).find((step) => step >= least * 0.999);
}

export const spreadText = (estimate) => length(estimate.spread_m);

function round(value, digits) {
  const scale = 10 ** digits;
  return Math.round(value * scale) / scale;
}

/** With a real minus sign, for reading. */
export const fixed = (value, digits) => value.toFixed(digits).replace(/^-/, "−");

const wrap = (lon) => ((((lon + 180) % 360) + 360) % 360) - 180;
