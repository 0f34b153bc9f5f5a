// The grid below the places where there is no base map, and its values along the edges.

import { fixed, niceStep } from "./geo.js";

/** Pixels between lines, at least; less where the map is small. */
const APART = 110;

/** The map ends here; a view that is widened may not. */
const POLE = 85;

/** Steps of whole degrees divide the half turn, so that the lines of all copies of the world are the same. */
const DEGREES = [1, 2, 5, 10, 20, 30, 45, 60, 90, 180];

/** Lines that cover what is seen and some more; `key` changes when they have to be drawn again. */
export function gridLines(map, frame) {
  const bounds = map.getBounds();
  const [west, south, east, north] = [bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth()];
  const globe = frame.kind !== "local";
  const unit = globe ? 1 : 1 / frame.degree;
  const [shiftX, shiftY] = frame.shift ?? [0, 0];
  const width = Math.max(1, map.getContainer().clientWidth);
  const least = ((east - west) / unit / width) * Math.min(APART, width / 5);
  // Degrees of latitude are drawn longer, the farther from the equator.
  const stretch = 1 / Math.cos((Math.min(POLE, Math.max(0, south, -north)) * Math.PI) / 180);
  const [stepX, stepY] = [stepOf(least, globe), Math.min(stepOf(least / stretch, globe), globe ? 60 : Infinity)];
  // Lines reach one view further, so that panning seldom needs new ones.
  const around = (low, high) => [low - (high - low), high + (high - low)];
  const [x0, x1] = east - west < 120 || !globe ? around(west, east) : [-180, 180];
  const [y0, y1] = around(south, north).map((lat) => Math.min(POLE, Math.max(-POLE, lat)));
  const xAt = (x) => (x - shiftX) * unit;
  const yAt = (y) => (y - shiftY) * unit;
  const xsIn = (low, high) => multiples(low / unit + shiftX, high / unit + shiftX, stepX);
  const ysIn = (low, high) => multiples(low / unit + shiftY, high / unit + shiftY, stepY);
  const line = (a, b, strong) => ({ type: "Feature", properties: { strong }, geometry: { type: "LineString", coordinates: [a, b] } });
  const strong = (value, step) => (globe && step >= 5 ? value % 90 === 0 : Math.round(value / step) % 5 === 0);
  const [xs, ys] = [xsIn(x0, x1), ysIn(y0, y1)];
  return {
    key: [stepX, stepY, xs[0], xs.at(-1), ys[0], ys.at(-1)].join(),
    lines: {
      type: "FeatureCollection",
      features: [
        ...xs.map((x) => line([xAt(x), y0], [xAt(x), y1], strong(x, stepX))),
        ...ys.map((y) => line([x0, yAt(y)], [x1, yAt(y)], strong(y, stepY))),
      ],
    },
    xs: xsIn(west, east).map((x) => [x, xAt(x)]),
    ys: ysIn(Math.max(south, -POLE), Math.min(north, POLE)).map((y) => [y, yAt(y)]),
    stepX, stepY, globe, middle: [(west + east) / 2, (south + north) / 2],
  };
}

function stepOf(least, globe) {
  if (!globe || least <= 0.5) return niceStep(least);
  return DEGREES.find((step) => step >= least * 0.999) ?? DEGREES.at(-1);
}

/** The multiples of a step within bounds. */
function multiples(low, high, step) {
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.max(0, Math.floor(high / step + 1e-9) - first + 1) }, (_, i) => (first + i) * step);
}

/** Values of the lines, along the upper and the left edge. */
export function drawLabels(canvas, map, grid, colour) {
  const { clientWidth: width, clientHeight: height } = map.getContainer();
  const ratio = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  const size = Math.round(parseFloat(getComputedStyle(document.documentElement).fontSize) * 0.74);
  context.font = `${size}px ${colour("mono")}`;
  context.lineWidth = 4;
  context.lineJoin = "round";
  context.strokeStyle = colour("paper");
  context.fillStyle = colour("muted");
  const text = (value, step) => fixed(value, Math.max(0, Math.ceil(-Math.log10(step) - 1e-9))) + (grid.globe ? "°" : "");
  const write = (text, x, y) => (context.strokeText(text, x, y), context.fillText(text, x, y));
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const [value, lon] of grid.xs) {
    const { x } = map.project([lon, grid.middle[1]]);
    const turned = grid.globe ? value - 360 * Math.round(value / 360) : value;
    if (x > 70 && x < width - 75) write(text(grid.globe && Math.abs(turned) === 180 ? 180 : turned, grid.stepX), x, 7);
  }
  context.textAlign = "left";
  context.textBaseline = "middle";
  for (const [value, lat] of grid.ys) {
    const { y } = map.project([grid.middle[0], lat]);
    if (y > 26 && y < height - 44) write(text(value, grid.stepY), 7, y);
  }
}
