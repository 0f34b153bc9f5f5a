// A picture below the plan of an index in local metres: it is drawn by this browser and sent nowhere.

import { app } from "./app.js";
import { t } from "./texts.js";
import { $, h, toast } from "./util.js";

/** Prepares the form; only plans have one. */
export function openFloor() {
  const button = $("#map-floor");
  const form = $("#floor");
  button.hidden = app.frame.kind !== "local" || !app.map?.map;
  form.hidden = true;
  button.setAttribute("aria-expanded", "false");
  if (button.hidden) return;
  const { min, max } = app.index.extent ?? { min: { x: 0, y: 0 }, max: { x: 10, y: 10 } };
  let canvas = null;
  const edge = (name, value) => {
    const input = h("input", { type: "number", step: "any", inputmode: "decimal", value: String(Math.round(value * 100) / 100), on: { change: show } });
    return [input, h("label", { class: "field" }, h("span", { text: t(`map.${name}`) }), input)];
  };
  const [west, south, east, north] = [["west", min.x], ["south", min.y], ["east", max.x], ["north", max.y]].map(([name, value]) => edge(name, value));
  function show() {
    const corners = [west, south, east, north].map(([input]) => Number(input.value));
    const sound = corners.every(Number.isFinite) && corners[0] < corners[2] && corners[1] < corners[3];
    if (canvas && sound) app.map.showFloor(canvas, corners);
  }
  const file = h("input", { type: "file", class: "hidden", accept: "image/*", tabindex: "-1", "aria-label": t("map.floorChoose") });
  file.addEventListener("change", async () => {
    if (!file.files[0]) return;
    try {
      const picture = await createImageBitmap(file.files[0]);
      const scale = Math.min(1, 4096 / Math.max(picture.width, picture.height));
      canvas = h("canvas", { width: Math.round(picture.width * scale), height: Math.round(picture.height * scale) });
      canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
      // The height follows the picture's shape, so that nothing is stretched until somebody says so.
      const width = Number(east[0].value) - Number(west[0].value);
      north[0].value = String(Math.round((Number(south[0].value) + (width * canvas.height) / canvas.width) * 100) / 100);
      show();
    } catch (error) {
      toast(error.message, [], "error");
    }
  });
  form.replaceChildren(
    h("div", { class: "buttons" }, h("button", { type: "button", class: "primary", text: t("map.floorChoose"), on: { click: () => file.click() } }),
      h("button", { type: "button", class: "text", text: t("map.floorRemove"), on: { click: () => ((canvas = null), app.map.showFloor(null, [])) } })),
    file, h("p", { class: "quiet", text: t("map.floorHelp") }), h("div", { class: "pairs" }, [west, east, south, north].map(([, label]) => label)));
  button.onclick = () => {
    form.hidden = !form.hidden;
    button.setAttribute("aria-expanded", String(!form.hidden));
  };
}
