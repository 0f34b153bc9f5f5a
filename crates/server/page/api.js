// The service's addresses. Every failure becomes a `Problem` with a text for people.

import { t } from "./texts.js";

const ROOT = new URL("../", import.meta.url);
const KEY = "r2former-key";

export class Problem extends Error {
  constructor(status, document, retryAfter) {
    super(document.detail || document.title || String(status));
    this.status = status;
    this.kind = String(document.type || "").split(":").pop();
    this.retryAfter = retryAfter;
  }
}

/** The key of this tab: it is never written to anything that outlives it. */
export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY)),
};

/** What happens when a key is needed: told whether one was sent, which the service does not know. */
let onUnauthorized = () => {};
export const whenUnauthorized = (handler) => (onUnauthorized = handler);

export const address = (path, parameters = {}) => {
  const url = new URL(path, ROOT);
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") url.searchParams.append(name, one);
    }
  }
  return url;
};

async function ask(url, options = {}) {
  const headers = new Headers(options.headers);
  const sent = key.get();
  if (sent) headers.set("Authorization", `Bearer ${sent}`);
  let response;
  try {
    response = await fetch(url, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: t("error.network") });
  }
  if (response.ok) return response;
  const document = await response.json().catch(() => ({ title: response.statusText }));
  const wait = Number(response.headers.get("Retry-After")) || null;
  // An answer that was on its way while another key was entered says nothing of this one.
  if (response.status === 401 && sent === key.get()) onUnauthorized(Boolean(sent));
  throw new Problem(response.status, document, wait);
}

const json = async (url, options) => (await ask(url, options)).json();

export const config = () => json(address("page/config.json"));
export const indexes = () => json(address("v1/indexes"));

/** Whether queries are answered: "ready", "notReady" or "down". */
export async function health() {
  try {
    return (await fetch(address("readyz"), { cache: "no-store" })).ok ? "ready" : "notReady";
  } catch {
    return "down";
  }
}

export async function metrics() {
  return (await ask(address("metrics"))).text();
}

/** Where a photograph was taken. A full queue is waited for, as the service asks. */
export async function locate(file, parameters, signal) {
  const url = address("v1/locate", { ...parameters, name: file.name || "photograph" });
  const headers = { "Content-Type": file.type.startsWith("image/") ? file.type : "image/*" };
  const document = await patiently(() => json(url, { method: "POST", body: file, headers, signal }), signal);
  return document.answers[0];
}

/** Why a photograph and a place match. */
export async function explain(file, place, index, contributions, signal) {
  const url = address("v1/explain", { place, index, contributions: contributions ? "true" : null });
  const headers = { "Content-Type": file.type.startsWith("image/") ? file.type : "image/*" };
  return patiently(() => json(url, { method: "POST", body: file, headers, signal }), signal);
}

/** Begins a sequence: its identifier. */
export async function beginSession({ name, ...parameters }, signal) {
  return (await json(address("v1/sessions", parameters), { method: "POST", signal })).id;
}

/** The next frame of a sequence: {fix, answer}. One whose answer is lost is sent again under its number: the service takes no frame twice. */
export async function sendFrame(session, file, frame, signal) {
  const form = new FormData();
  form.append("frame", String(frame));
  form.append("image", file, file.name);
  return patiently(() => json(address(`v1/sessions/${session}/frames`), { method: "POST", body: form, signal }), signal, isFrameOpen);
}

/** Whether it is not known if the service took a frame: its answer is lost, or it is still at work. */
const isFrameOpen = ({ status }) => [0, 408, 409, 429].includes(status) || status >= 500;

/** Whether the service refused a photograph for what it is: the next frame has its number. */
export const isRefusal = ({ status }) => [400, 413, 415, 422].includes(status);

export const endSession = (session) => ask(address(`v1/sessions/${session}`), { method: "DELETE" });

/** Adds a place: {id, place, notes, added}. */
export async function addPlace(file, fields) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") form.append(name, one);
    }
  }
  form.append("image", file, file.name || "photograph");
  const response = await ask(address("v1/places"), { method: "POST", body: form });
  return { ...(await response.json()), added: response.status === 201 };
}

export const removePlace = (id, index) => ask(address(`v1/places/${id}`, { index }), { method: "DELETE" });

/** A page of places, with `next`. */
export const places = (parameters, signal) => json(address("v1/places", parameters), { signal });

const isBusy = ({ status }) => status === 429 || status === 503;

/** Tries again, as the service asks or after longer and longer, while a problem may pass. */
async function patiently(attempt, signal, mayPass = isBusy) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await attempt();
    } catch (problem) {
      if (!(problem instanceof Problem) || !mayPass(problem) || tries === 4) throw problem;
      await new Promise((resolve, reject) => {
        const timer = setTimeout(resolve, Math.min(problem.retryAfter || 2 ** tries, 10) * 1000);
        signal?.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
      });
    }
  }
}

/** Puts a place's thumbnail into an `img`. With a key the browser cannot ask by itself, so the bytes are fetched. */
export async function thumbnail(img, id, index, size = 320) {
  const url = address(`v1/places/${id}/thumbnail`, { index, size });
  if (!key.get()) {
    img.src = url;
    return;
  }
  try {
    const source = URL.createObjectURL(await (await ask(url)).blob());
    img.addEventListener("load", () => URL.revokeObjectURL(source), { once: true });
    img.src = source;
  } catch {
    img.dispatchEvent(new Event("error"));
  }
}
