// Shows /openapi.json. Everything of the document goes into the page as text.

const METHODS = ["get", "post", "put", "patch", "delete"];

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const code = (text) => element("code", {}, text);

// A schema in few words; names link to their own section.
function shape(schema) {
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return [element("a", { href: `#schema-${name}` }, name)];
  }
  if (schema.anyOf) return schema.anyOf.flatMap((one, i) => (i ? [" or ", ...shape(one)] : shape(one)));
  if (schema.enum) return [schema.enum.map((value) => JSON.stringify(value)).join(", ")];
  if ("const" in schema) return [JSON.stringify(schema.const)];
  const type = [schema.type ?? "any"].flat().join(" or ");
  if (schema.items) return ["list of ", ...shape(schema.items)];
  const bounds = [];
  if ("minimum" in schema || "maximum" in schema) bounds.push(`${schema.minimum ?? ""} to ${schema.maximum ?? ""}`);
  if (schema.format) bounds.push(schema.format);
  return [type + (bounds.length ? ` (${bounds.join(", ")})` : "")];
}

function table(heads, rows) {
  const cells = (kind, row) => element("tr", {}, ...row.map((cell) => element(kind, {}, ...[cell].flat())));
  const made = element("table", {}, element("thead", {}, cells("th", heads)), element("tbody", {}, ...rows.map((row) => cells("td", row))));
  return element("div", { class: "table", tabindex: "0" }, made);
}

function fields(schema) {
  const required = new Set(schema.required ?? []);
  return table(["field", "what"], Object.entries(schema.properties ?? {}).map(([name, field]) => [
    [code(name), required.has(name) ? "" : " (where known)"],
    field.properties ? [fields(field)] : field.items?.properties ? ["list of", fields(field.items)] : shape(field),
  ]));
}

function example(method, path, operation) {
  const address = `'${location.origin}${path}'`;
  const verb = method === "get" ? "" : `-X ${method.toUpperCase()} `;
  if (!operation.requestBody) return `curl ${verb}${address}`;
  return operation.requestBody.content["image/*"]
    ? `curl --data-binary @photo.jpg ${address}`
    : `curl -F image=@one.jpg -F image=@two.jpg ${address}`;
}

function section(method, path, operation) {
  const made = element("section", {},
    element("h2", { id: operation.operationId }, element("span", { class: "method" }, method), code(path)),
    element("p", {}, operation.summary),
    element("pre", {}, example(method, path, operation)));
  if (operation.parameters.length) {
    made.append(element("h3", {}, operation.requestBody ? "Parameters, in the address or as fields of the form" : "Parameters"),
      table(["name", "value", "what"], operation.parameters.map((one) => {
        const usual = "default" in one.schema ? [`; ${JSON.stringify(one.schema.default)} by default`] : [];
        return [code(one.name), [...shape(one.schema), ...usual], one.description];
      })));
  }
  if (operation.requestBody) {
    made.append(element("h3", {}, "Body"), element("p", {}, Object.keys(operation.requestBody.content).join(", ")));
  }
  made.append(element("h3", {}, "Answers"),
    table(["status", "media type", "what"], Object.entries(operation.responses).map(([status, response]) => {
      const content = Object.entries(response.content ?? {});
      const shapes = content.flatMap(([, media], i) => (i ? [" or ", ...shape(media.schema)] : shape(media.schema)));
      return [code(status), content.map(([kind]) => kind).join(", "), [`${response.description} `, ...shapes]];
    })));
  return made;
}

async function show() {
  const operations = document.getElementById("operations");
  const response = await fetch("/openapi.json");
  if (!response.ok) throw new Error(`status ${response.status}`);
  const api = await response.json();
  document.getElementById("about").prepend(`Version ${api.info.version}. ${api.info.description} `);
  const contents = document.getElementById("contents");
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const method of METHODS.filter((name) => name in methods)) {
      const operation = methods[method];
      const link = element("a", { href: `#${operation.operationId}` }, code(path));
      contents.append(element("li", {}, element("span", { class: "method" }, method), link, ` ${operation.summary}`));
      operations.append(section(method, path, operation));
    }
  }
  operations.append(element("h2", { id: "schemas" }, "Documents"));
  for (const [name, schema] of Object.entries(api.components.schemas)) {
    operations.append(element("h3", { id: `schema-${name}` }, name),
      schema.properties ? fields(schema) : element("p", {}, ...(schema.anyOf ?? [schema]).flatMap((one) => (one.properties ? [fields(one)] : shape(one)))));
  }
  operations.removeAttribute("aria-busy");
  // The target of the address is there only now.
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

show().catch((error) => {
  const operations = document.getElementById("operations");
  operations.removeAttribute("aria-busy");
  operations.append(element("p", { role: "alert" }, `openapi.json cannot be read: ${error.message}`));
});
