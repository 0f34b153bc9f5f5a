// Answers as files, with the columns and the kinds of `r2former query --csv` and `--geojson`.

const POSITION = { wgs84: ["lat", "lon"], local: ["x", "y", "z"], none: [] };

/** What became of a photograph: its answer's status, or why there is none. */
const statusOf = ({ answer, state }) => answer?.status ?? (state === "working" ? "waiting" : state);

/** A row for each match, and one for each query without. */
export function csv(items, kind) {
  const position = POSITION[kind];
  const prefixed = (prefix) => position.map((name) => `${prefix}_${name}`);
  const columns = ["query", "status", "rank", "path", ...position, "heading", "distance_m", "similarity", "score", "score_kind", ...prefixed("best"), ...prefixed("weighted"),
    "agreeing", "considered", "spread_m", "confidence", "looking", "major_m", "minor_m", "angle_deg", "reranking_skipped", "notes", "error", "tags"];
  const rows = items.flatMap((item) => {
    const { name, answer, error } = item;
    const { estimate } = answer ?? {};
    const own = {
      query: name, status: statusOf(item), error: error ?? "", confidence: answer?.confidence, agreeing: estimate?.agreeing, considered: estimate?.considered,
      spread_m: estimate?.spread_m, looking: estimate?.heading, ...estimate?.ellipse, reranking_skipped: answer?.reranking_skipped, notes: (answer?.notes ?? []).join("; "),
    };
    for (const field of position) [own[`best_${field}`], own[`weighted_${field}`]] = [estimate?.best?.[field], estimate?.weighted?.[field]];
    const matches = answer?.matches ?? [];
    return matches.length ? matches.map((match) => ({ ...match, ...match.position, ...own, tags: JSON.stringify(match.tags ?? {}) })) : [own];
  });
  const line = (cells) => `${cells.map(cell).join(",")}\r\n`;
  return line(columns) + rows.map((row) => line(columns.map((column) => row[column]))).join("");
}

function cell(value) {
  if (value === null || value === undefined) return "";
  const text = String(value);
  // A name that a spreadsheet would take for a formula stays a name.
  const safe = typeof value === "string" && /^[=+@\t\r]|^-(?![\d.])/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** Estimates, and matches, as points of the globe. */
export function geojson(items) {
  const point = (position) => (position ? { type: "Point", coordinates: [position.lon, position.lat] } : null);
  const features = items.flatMap((item) => {
    const { name, answer, error } = item;
    const { estimate, matches = [] } = answer ?? {};
    if (!estimate) return [{ type: "Feature", geometry: null, properties: { kind: "query", query: name, status: statusOf(item), error: error ?? null } }];
    const [first] = matches;
    return [
      { type: "Feature", geometry: point(estimate.weighted ?? estimate.best), properties: {
        kind: "estimate", query: name, status: answer.status, path: first?.path, similarity: first?.similarity, score: first?.score ?? null, score_kind: first?.score_kind ?? null,
        agreeing: estimate.agreeing, considered: estimate.considered, spread_m: estimate.spread_m, heading: estimate.heading ?? null, ellipse: estimate.ellipse ?? null, best_lat: estimate.best.lat, best_lon: estimate.best.lon,
        confidence: answer.confidence ?? null, reranking_skipped: answer.reranking_skipped, notes: answer.notes } },
      ...matches.map((match) => ({ type: "Feature", geometry: point(match.position), properties: {
        kind: "match", query: name, rank: match.rank, path: match.path, heading: match.heading, similarity: match.similarity, score: match.score, score_kind: match.score_kind, distance_m: match.distance_m } })),
    ];
  });
  return JSON.stringify({ type: "FeatureCollection", features }, null, 1);
}

const escape = (text) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`).replace(/[^\t\n\r\u0020-\uFFFD]/g, "");

/** A waypoint for each photograph that was located. */
export function gpx(items) {
  const points = items.filter(({ answer }) => answer?.status === "answered" && answer.estimate).map(({ name, answer }) => {
    const { lat, lon } = answer.estimate.weighted ?? answer.estimate.best;
    return `  <wpt lat="${lat}" lon="${lon}"><name>${escape(name)}</name><desc>${escape(answer.matches[0].path)}</desc></wpt>`;
  });
  return `<?xml version="1.0" encoding="UTF-8"?>\n<gpx version="1.1" creator="r2former" xmlns="http://www.topografix.com/GPX/1/1">\n${points.join("\n")}\n</gpx>\n`;
}

/** A sequence as a line and its frames, as the service has it. */
export function trackGeojson(items) {
  const point = ({ fix }) => (fix?.position ? [fix.position.lon, fix.position.lat] : null);
  const line = items.map(point).filter(Boolean);
  const frames = items.map((item, i) => {
    const at = point(item);
    const properties = { kind: "frame", frame: i + 1, query: item.name, status: statusOf(item), error: item.error, probability: item.fix?.probability ?? null, confidence: item.answer?.confidence ?? null, path: item.fix?.place?.path ?? null };
    return { type: "Feature", geometry: at && { type: "Point", coordinates: at }, properties };
  });
  const track = { type: "Feature", geometry: line.length > 1 ? { type: "LineString", coordinates: line } : null, properties: { kind: "track", frames: items.length } };
  return JSON.stringify({ type: "FeatureCollection", features: [track, ...frames] }, null, 1);
}

/** A row for each frame. */
export function trackCsv(items, kind) {
  const position = POSITION[kind];
  const columns = ["frame", "query", "status", ...position, "probability", "confidence", "path", "error"];
  const rows = items.map((item, i) => {
    const { name, fix, answer, error } = item;
    return { frame: i + 1, query: name, status: statusOf(item), ...fix?.position, probability: fix?.probability, confidence: answer?.confidence, path: fix?.place?.path, error };
  });
  const line = (cells) => `${cells.map(cell).join(",")}\r\n`;
  return line(columns) + rows.map((row) => line(columns.map((column) => row[column]))).join("");
}

/** A track of the frames that have a position. */
export function trackGpx(items) {
  const points = items.filter(({ fix }) => fix?.position).map(({ fix, name }) => `   <trkpt lat="${fix.position.lat}" lon="${fix.position.lon}"><name>${escape(name)}</name></trkpt>`);
  return `<?xml version="1.0" encoding="UTF-8"?>\n<gpx version="1.1" creator="r2former" xmlns="http://www.topografix.com/GPX/1/1">\n <trk><trkseg>\n${points.join("\n")}\n </trkseg></trk>\n</gpx>\n`;
}
