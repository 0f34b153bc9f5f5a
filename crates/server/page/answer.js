// One photograph: what is asked, and the answer with its matches.

import * as api from "./api.js";
import { app, emit, may, places } from "./app.js";
import { openCompare } from "./compare.js";
import { clearFilters, parameters } from "./filters.js";
import { distance, offset } from "./geo.js";
import { t } from "./texts.js";
import { $, announce, baseName, compass, day, h, icon, metres, score, toast } from "./util.js";

let controller = null;
let shown = null;
let preview = null;

/** Locates a photograph and shows the answer. */
export async function locatePhoto(file) {
  controller?.abort();
  controller = new AbortController();
  const { signal } = controller;
  const started = performance.now();
  performance.mark("photo");
  const url = showQuery(file);
  clearMap();
  showWorking();
  try {
    const answer = await api.locate(file, parameters(), signal);
    if (signal.aborted) return;
    showAnswer({ file, url, answer, seconds: (performance.now() - started) / 1000 });
    requestAnimationFrame(() => performance.measure("answer", "photo"));
  } catch (problem) {
    if (!signal.aborted) showProblem(file, problem);
  }
}

/** An answer that is there already, such as one of several. */
export function openAnswer({ file, answer, seconds }) {
  controller?.abort();
  const url = showQuery(file);
  clearMap();
  showAnswer({ file, url, answer, seconds });
}

export function currentPhoto() {
  return shown?.file ?? null;
}

/** Nothing is asked: the page as at the start. */
export function clearAnswer() {
  controller?.abort();
  shown = null;
  if (preview) URL.revokeObjectURL(preview);
  preview = null;
  $("#query").hidden = true;
  $("#drop").classList.remove("filled");
  $("#choose-text").textContent = t("photo.choose");
  $("#answer").replaceChildren(h("p", { class: "hint" }));
  showHint();
}

/** What an answer will be, while there is none. */
export function showHint() {
  const hint = $("#answer > .hint");
  if (!hint) return;
  const positions = app.frame.kind !== "none";
  hint.replaceChildren(...(places.total ? [t(positions ? "locate.empty" : "locate.emptyNoPositions")] : [`${t("locate.emptyIndex")} ${howToAdd()}`]));
}

const howToAdd = () => t(may("write") ? "locate.howToAdd" : "locate.howToAddElsewhere");

function clearMap() {
  app.map?.clearPins();
  app.map?.closePopup();
}

function showQuery(file) {
  if (preview) URL.revokeObjectURL(preview);
  preview = URL.createObjectURL(file);
  const img = h("img", { src: preview, alt: t("photo.alt", { name: file.name }) });
  img.addEventListener("error", () => img.replaceWith(h("span", { class: "blank", text: t("photo.noPreview") })));
  $("#query").replaceChildren(img, h("figcaption", {},
    h("span", { class: "quiet", text: t("photo.query") }), h("span", { class: "name", text: file.name, title: file.name })));
  $("#query").hidden = false;
  $("#drop").classList.add("filled");
  $("#choose-text").textContent = t("photo.another");
  return preview;
}

function showWorking() {
  $("#answer").replaceChildren(h("div", { class: "working" },
    h("span", { class: "spin", "aria-hidden": "true" }),
    h("span", { class: "grow", text: t("locate.working", { count: app.index.images }) }),
    h("button", { type: "button", class: "text", text: t("locate.cancel"), on: { click: clearAnswer } })));
  $("#answer").setAttribute("aria-busy", "true");
}

function showProblem(file, problem) {
  $("#answer").removeAttribute("aria-busy");
  $("#answer").replaceChildren(h("div", { class: "error", role: "alert" },
    h("h2", { text: t("locate.failed") }), h("p", { text: problem.message }),
    problem.retryAfter && h("p", { class: "quiet", text: t("error.retryIn", { seconds: problem.retryAfter }) }),
    h("button", { type: "button", text: t("locate.retry"), on: { click: () => locatePhoto(file) } })));
  emit("answered");
}

/** Whether an answer is one, and what it is called. */
export function verdictOf(answer) {
  if (answer.status !== "answered") return answer.status;
  if (!answer.estimate) return "answered";
  const sure = Number.isFinite(answer.confidence) ? answer.confidence >= (app.index.model.calibration?.threshold ?? 0.5) : answer.estimate.agreeing > 1;
  return sure ? "answered" : "weak";
}

/** What surrounds the estimate: an ellipse where the answer has one, otherwise the circle of the matches that agree. */
function shapeOf(estimate) {
  const { ellipse } = estimate;
  if (ellipse) return { along: ellipse.major_m, across: ellipse.minor_m, degrees: ellipse.angle_deg };
  return estimate.agreeing > 1 && estimate.spread_m > 0 ? { along: estimate.spread_m, across: estimate.spread_m, degrees: 0 } : null;
}

const scoreLabel = (kind) =>
  t(kind === "ransac_inliers" ? "match.ransac" : kind === "mutual_matches" ? "match.mutual" : "match.score");

function showAnswer({ file, url, answer, seconds }) {
  shown = { file, url, answer };
  const guesses = answer.status === "not_in_index";
  const parts = [readout(answer, seconds, file), noteList(answer)];
  if (answer.matches.length) {
    parts.push(h("div", { class: "list-head" },
      h("h2", { text: t(guesses ? "locate.guesses" : "locate.matches") }),
      h("button", { type: "button", class: "text", on: { click: () => compare(0) } }, icon("compare"), t("locate.compare"))));
    parts.push(h("ol", { class: guesses ? "cards guesses" : "cards" }, answer.matches.map((match, i) => card(match, i, answer))));
  }
  $("#answer").removeAttribute("aria-busy");
  $("#answer").replaceChildren(...parts.filter(Boolean));
  showOnMap(answer, guesses);
  emit("answered");
}

function compare(i) {
  openCompare({ ...shown, index: app.index.name, reranks: app.index.rerank.methods.includes("model") }, i);
}

function readout(answer, seconds, file) {
  const { estimate } = answer;
  const verdict = verdictOf(answer);
  const titles = { answered: estimate ? "locate.found" : "locate.noPosition", weak: "locate.weak", no_match: "locate.noMatch", not_in_index: "locate.unknown" };
  const computed = Object.values(answer.timing ?? {}).reduce((sum, ms) => sum + (ms || 0), 0);
  const parts = [h("div", { class: "verdict" }, h("h2", { text: t(titles[verdict] ?? "locate.failed") }),
    seconds !== undefined && h("span", { class: "quiet num", text: t("locate.took", { seconds: seconds.toFixed(2) }), title: t("locate.tookHelp", { ms: Math.round(computed) }) }))];
  if (verdict === "no_match" || verdict === "not_in_index") {
    const none = verdict === "no_match";
    const empty = none && places.total === 0;
    parts.push(h("p", { text: empty ? `${t("locate.emptyIndex")} ${howToAdd()}` : t(none ? "locate.noMatchHelp" : "locate.unknownHelp") }), confidence(answer));
    const button = (text, run) => parts.push(h("div", { class: "buttons" }, h("button", { type: "button", class: "text", text: t(text), on: { click: run } })));
    if (empty && may("write")) button("places.add", () => emit("adding"));
    else if (none && !empty) button("locate.widen", () => (clearFilters(), locatePhoto(file)));
    announce(empty ? t("locate.emptyIndex") : t(none ? "locate.said.none" : "locate.said.unknown"));
    return h("div", { class: "readout none" }, parts);
  }
  if (!estimate) return h("div", { class: "readout none" }, parts);
  const position = estimate.weighted ?? estimate.best;
  const text = app.frame.format(position);
  const plain = app.frame.parameter(position);
  const agree = estimate.agreeing > 1
    ? `${t("locate.agree", { agreeing: estimate.agreeing, considered: estimate.considered })} ${t("locate.spread", { metres: metres(estimate.spread_m) })}`
    : t("locate.alone");
  parts.push(h("p", { class: "where", text }), h("p", { text: agree }));
  if (Number.isFinite(estimate.heading)) parts.push(h("p", { text: t("locate.looking", { direction: compass(estimate.heading), degrees: Math.round(estimate.heading) }) }));
  if (estimate.ellipse) parts.push(h("p", { class: "quiet", text: t("locate.ellipse", { major: metres(estimate.ellipse.major_m), minor: metres(estimate.ellipse.minor_m) }) }));
  if (verdict === "weak") parts.push(h("p", { class: "quiet", text: t("locate.aloneHelp") }));
  parts.push(confidence(answer));
  parts.push(h("div", { class: "buttons" },
    h("button", { type: "button", class: "text", on: { click: () => copy(plain) } }, icon("copy"), t("locate.copy")),
    h("button", { type: "button", class: "text", on: { click: () => showOnMap(answer, false) } }, icon("target"), t("locate.show")),
    app.frame.kind === "wgs84" && h("a", { class: "button text", rel: "noreferrer noopener", target: "_blank",
      href: `https://www.openstreetmap.org/?mlat=${position.lat}&mlon=${position.lon}#map=18/${position.lat}/${position.lon}`, text: t("locate.osm") })));
  announce(t("locate.said.answer", { position: text, agree }));
  return h("div", { class: "readout" }, parts);
}

function confidence(answer) {
  if (!Number.isFinite(answer.confidence)) return null;
  return h("div", { class: "confidence", title: t("locate.confidenceHelp") }, h("span", { id: "confidence-label", text: t("locate.confidence") }),
    h("meter", { class: "bar-meter", min: "0", max: "1", value: String(answer.confidence), "aria-labelledby": "confidence-label" }),
    h("span", { class: "num", text: `${Math.min(99, Math.round(answer.confidence * 100))} %` }));
}

function noteList(answer) {
  // Of an empty index the answer itself says so.
  const notes = app.index.images ? [...(answer.notes ?? [])] : [];
  if (answer.reranking_skipped) notes.push(t("locate.skipped"));
  return notes.length ? h("ul", { class: "notes" }, notes.map((text) => h("li", { text }))) : null;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast(t("locate.copied"));
  } catch {
    toast(text);
  }
}

function card(match, i, answer) {
  const name = baseName(match.path);
  const at = app.frame.toMap(match.position);
  const centre = answer.estimate && app.frame.toMap(answer.estimate.weighted ?? answer.estimate.best);
  const img = h("img", { alt: "", loading: "lazy" });
  const thumb = h("button", { type: "button", class: "thumb", "aria-label": t("match.compare", { rank: match.rank, name }), on: { click: () => compare(i) } },
    img, h("span", { class: "rank", "aria-hidden": "true", text: match.rank }));
  img.addEventListener("error", () => img.replaceWith(h("span", { text: t("match.thumbnailMissing") })));
  api.thumbnail(img, match.id, app.index.name);
  const figures = h("div", { class: "figures" }, h("span", { text: t("match.similarity") }),
    h("meter", { class: "bar-meter", min: "0", max: "1", value: String(Math.max(0, match.similarity)), "aria-label": t("match.similarity") }),
    h("span", { class: "num", text: match.similarity.toFixed(3) }));
  if (match.score !== null && match.score !== undefined) {
    const most = match.score_kind === "reranker_probability" ? 1 : Math.max(...answer.matches.map((other) => other.score || 0), 1);
    figures.append(h("span", { text: scoreLabel(match.score_kind) }),
      h("meter", { class: "bar-meter", min: "0", max: String(most), value: String(match.score), "aria-label": scoreLabel(match.score_kind) }),
      h("span", { class: "num", text: score(match.score) }));
  }
  const meta = h("p", { class: "meta" });
  if (at && centre && answer.status === "answered") meta.append(h("span", { text: t("match.away", { metres: metres(distance(app.frame, at, centre)) }) }));
  else if (!at) meta.append(h("span", { text: t("match.noPosition") }));
  if (Number.isFinite(match.heading)) {
    const arrow = icon("heading");
    arrow.firstChild.setAttribute("transform", `rotate(${Math.round(match.heading)} 12 12)`);
    meta.append(h("span", { title: t("match.heading", { direction: compass(match.heading), degrees: Math.round(match.heading) }) }, arrow, `${Math.round(match.heading)}°`));
  }
  if (Number.isFinite(match.time)) meta.append(h("span", { text: day(match.time) }));
  return h("li", { class: "card", "data-rank": match.rank },
    thumb,
    h("div", { class: "body" }, h("h3", { class: "name", text: name, title: match.path }), figures, meta),
    at && h("button", { type: "button", class: "text icon-only", "aria-label": `${t("locate.show")}: ${t("match.rank", { rank: match.rank })}`, title: t("locate.show"),
      on: { click: () => (select(match.rank), app.map?.flyTo([at])) } }, icon("target")));
}

function showOnMap(answer, guesses) {
  const { map, frame } = app;
  if (!map?.map || frame.kind === "none") return;
  const matches = answer.matches.slice(0, 20).map((match) => ({ at: frame.toMap(match.position), rank: match.rank, name: match.path }));
  map.showMatches(matches, guesses, (rank) => select(rank, true));
  const located = matches.filter((match) => match.at).map((match) => match.at);
  if (guesses || !answer.estimate) {
    if (located.length) map.flyTo(located);
    return;
  }
  const centre = frame.toMap(answer.estimate.weighted ?? answer.estimate.best);
  const shape = shapeOf(answer.estimate);
  const polygon = map.showEstimate(centre, shape, answer.estimate.ellipse ? centre : frame.toMap(answer.estimate.best), answer.estimate.heading);
  const reach = Math.max(25, shape?.along ?? 0) * 1.8;
  const around = [offset(frame, centre, -reach, -reach), offset(frame, centre, reach, reach)];
  map.flyTo([...around, ...(polygon ? polygon.coordinates[0] : [])]);
}

function select(rank, scroll = false) {
  app.map?.select(rank);
  for (const element of document.querySelectorAll("#answer .card")) {
    const chosen = element.dataset.rank === String(rank);
    element.classList.toggle("selected", chosen);
    if (chosen && scroll) {
      element.scrollIntoView({ block: "nearest", behavior: "smooth" });
      element.querySelector(".thumb").focus({ preventScroll: true });
    }
  }
}
