// The grid below the places where there is no base map, and its values along the edges.

import { fixed, niceStep } from "./geo.js";

/** Pixels between lines, at least. */
const APART = 110;

/** Lines that cover what is seen and some more; `key` changes when they have to be drawn again. */
export function gridLines(map, frame) {
  const bounds = map.getBounds();
  const [west, south, east, north] = [bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth()];
  const [width, height] = [east - west, north - south];
  const unit = frame.kind === "local" ? 1 / frame.degree : 1;
  const shift = frame.shift ?? [0, 0];
  const step = niceStep((width / unit / Math.max(1, map.getContainer().clientWidth)) * APART);
  // Lines reach one view further, so that panning seldom needs new ones.
  const range = (low, span, shift, least, most) => {
    const from = Math.max(least, Math.floor(((low - span) / unit + shift) / step) * step);
    const to = Math.min(most, Math.ceil(((low + 2 * span) / unit + shift) / step) * step);
    const count = Math.min(400, Math.round((to - from) / step));
    return Array.from({ length: count + 1 }, (_, i) => from + i * step);
  };
  const globe = frame.kind !== "local";
  const xs = range(west, width, shift[0], globe ? -540 : -Infinity, globe ? 540 : Infinity);
  const ys = range(south, height, shift[1], globe ? -85 : -Infinity, globe ? 85 : Infinity);
  const place = (value, i) => (value - shift[i]) * unit;
  const strong = (value) => Math.abs(value / step - Math.round(value / step / 5) * 5) < 0.01;
  const [x0, x1] = [place(xs[0], 0), place(xs.at(-1), 0)];
  const [y0, y1] = [place(ys[0], 1), place(ys.at(-1), 1)];
  const line = (a, b, value) => ({
    type: "Feature", properties: { strong: strong(value) }, geometry: { type: "LineString", coordinates: [a, b] },
  });
  const lines = [
    ...xs.map((x) => line([place(x, 0), y0], [place(x, 0), y1], x)),
    ...ys.map((y) => line([x0, place(y, 1)], [x1, place(y, 1)], y)),
  ];
  return {
    key: [step, xs[0], xs.at(-1), ys[0], ys.at(-1)].join(),
    lines: { type: "FeatureCollection", features: lines },
    xs: xs.map((x) => [x, place(x, 0)]),
    ys: ys.map((y) => [y, place(y, 1)]),
    step, globe, middle: [(west + east) / 2, (south + north) / 2],
  };
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
  const digits = Math.max(0, Math.ceil(-Math.log10(grid.step) - 1e-9));
  const write = (text, x, y) => (context.strokeText(text, x, y), context.fillText(text, x, y));
  const suffix = grid.globe ? "°" : "";
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const [value, lon] of grid.xs) {
    const { x } = map.project([lon, grid.middle[1]]);
    const shown = grid.globe ? ((((value + 180) % 360) + 360) % 360) - 180 : value;
    if (x > 70 && x < width - 75) write(fixed(shown, digits) + suffix, x, 7);
  }
  context.textAlign = "left";
  context.textBaseline = "middle";
  for (const [value, lat] of grid.ys) {
    const { y } = map.project([grid.middle[0], lat]);
    if (y > 26 && y < height - 44) write(fixed(value, digits) + suffix, 7, y);
  }
}
