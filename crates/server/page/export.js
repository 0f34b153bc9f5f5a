// Answers as files, with the columns and the kinds of `r2former query --csv` and `--geojson`.

const POSITION = { wgs84: ["lat", "lon"], local: ["x", "y", "z"], none: [] };

/** A row for each match, and one for each query without. */
export function csv(items, kind) {
  const position = POSITION[kind];
  const prefixed = (prefix) => position.map((name) => `${prefix}_${name}`);
  const columns = ["query", "status", "rank", "path", ...position, "heading", "distance_m", "similarity", "score", "score_kind", ...prefixed("best"), ...prefixed("weighted"),
    "agreeing", "considered", "spread_m", "reranking_skipped", "notes", "error", "confidence", "tags"];
  const rows = items.flatMap(({ name, answer, error }) => {
    const { estimate } = answer ?? {};
    const own = {
      query: name, status: answer?.status ?? "unreadable", error: error ?? "", confidence: answer?.confidence, agreeing: estimate?.agreeing, considered: estimate?.considered,
      spread_m: estimate?.spread_m, reranking_skipped: answer?.reranking_skipped, notes: (answer?.notes ?? []).join("; "),
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
  const features = items.flatMap(({ name, answer, error }) => {
    const { estimate, matches = [] } = answer ?? {};
    if (!estimate) return [{ type: "Feature", geometry: null, properties: { kind: "query", query: name, status: answer?.status ?? "unreadable", error: error ?? null } }];
    const [first] = matches;
    return [
      { type: "Feature", geometry: point(estimate.weighted ?? estimate.best), properties: {
        kind: "estimate", query: name, status: answer.status, path: first?.path, similarity: first?.similarity, score: first?.score ?? null, score_kind: first?.score_kind ?? null,
        agreeing: estimate.agreeing, considered: estimate.considered, spread_m: estimate.spread_m, best_lat: estimate.best.lat, best_lon: estimate.best.lon,
        confidence: answer.confidence ?? null, reranking_skipped: answer.reranking_skipped, notes: answer.notes } },
      ...matches.map((match) => ({ type: "Feature", geometry: point(match.position), properties: {
        kind: "match", query: name, rank: match.rank, path: match.path, heading: match.heading, similarity: match.similarity, score: match.score, score_kind: match.score_kind, distance_m: match.distance_m } })),
    ];
  });
  return JSON.stringify({ type: "FeatureCollection", features }, null, 1);
}

/** A waypoint for each photograph that was located. */
export function gpx(items) {
  const escape = (text) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`).replace(/[^\t\n\r\u0020-\uFFFD]/g, "");
  const points = items.filter(({ answer }) => answer?.status === "answered" && answer.estimate).map(({ name, answer }) => {
    const { lat, lon } = answer.estimate.weighted ?? answer.estimate.best;
    return `  <wpt lat="${lat}" lon="${lon}"><name>${escape(name)}</name><desc>${escape(answer.matches[0].path)}</desc></wpt>`;
  });
  return `<?xml version="1.0" encoding="UTF-8"?>\n<gpx version="1.1" creator="r2former" xmlns="http://www.topografix.com/GPX/1/1">\n${points.join("\n")}\n</gpx>\n`;
}
