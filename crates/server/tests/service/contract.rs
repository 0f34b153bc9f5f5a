//! The OpenAPI document says what there is: addresses, methods, parameters, and the shape of answers.

use crate::common::{Home, Part, Reply, jpeg};
use serde_json::Value;

/// What of a value does not fit a schema.
fn misfits(document: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let schema =
            document.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("{name} is missing"));
        return misfits(document, schema, value, at, found);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let fits = |schema: &Value| {
            let mut found = Vec::new();
            misfits(document, schema, value, at, &mut found);
            found.is_empty()
        };
        if !any.iter().any(fits) {
            found.push(format!("{at}: {value} fits none of {schema}"));
        }
        return;
    }
    if let Some(all) = schema["enum"].as_array()
        && !all.contains(value)
    {
        found.push(format!("{at}: {value} is not one of {all:?}"));
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let is = |kind: &&str| match *kind {
        "null" => value.is_null(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => false,
    };
    if !kinds.is_empty() && !kinds.iter().any(is) {
        found.push(format!("{at}: {value} is no {kinds:?}"));
        return;
    }
    if let (Some(object), Some(properties)) = (value.as_object(), schema["properties"].as_object()) {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(name) {
                found.push(format!("{at}: {name} is missing"));
            }
        }
        for (name, value) in object {
            match properties.get(name) {
                Some(schema) => misfits(document, schema, value, &format!("{at}.{name}"), found),
                None => found.push(format!("{at}: {name} is not in the document")),
            }
        }
    }
    for value in value.as_array().into_iter().flatten().filter(|_| schema["items"].is_object()) {
        misfits(document, &schema["items"], value, &format!("{at}[]"), found);
    }
}

/// Asserts that an answer is one that the document promises.
#[track_caller]
fn keeps(document: &Value, path: &str, method: &str, reply: &Reply) {
    let responses = &document["paths"][path][method]["responses"];
    let response = &responses[reply.status.to_string()];
    assert!(response.is_object(), "{method} {path}: {} is not in the document: {reply:?}", reply.status);
    let kind = reply.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
    if kind.ends_with("json") {
        let schema = &response["content"][kind]["schema"];
        assert!(schema.is_object(), "{method} {path} {}: {kind} is not in the document", reply.status);
        let mut found = Vec::new();
        misfits(document, schema, &reply.json(), path, &mut found);
        assert!(found.is_empty(), "{method} {path}: {found:#?}");
    }
}

#[test]
fn answers_are_as_the_document_says() {
    let home = Home::new();
    let serving = home.serve();
    let document = serving.get("/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    let (known, new) = (jpeg(1, None), jpeg(8, None));
    let added = serving.post("/v1/places?position=1,2&heading=3&altitude=4&time=5&tag=a=b", &new);
    keeps(&document, "/v1/places", "post", &added);
    let id = added.json()["id"].as_str().expect("text").to_owned();
    keeps(&document, "/v1/places", "post", &serving.post("/v1/places", &known));
    for path in ["/healthz", "/readyz", "/metrics", "/openapi.json", "/v1/indexes", "/", "/v1/places"] {
        keeps(&document, path, "get", &serving.get(path));
    }
    keeps(&document, "/v1/places", "get", &serving.get("/v1/places?format=geojson"));
    keeps(&document, "/v1/places", "get", &serving.get("/v1/places?limit=x"));
    for rerank in ["model", "ransac", "mutual", "none"] {
        let reply = serving.post(&format!("/v1/locate?rerank={rerank}&near=1,2&radius=1e7"), &known);
        keeps(&document, "/v1/locate", "post", &reply);
        assert_eq!(reply.json()["answers"][0]["rerank"], rerank);
    }
    keeps(&document, "/v1/locate", "post", &serving.post("/v1/locate", b"no image"));
    let batch = [Part::File("a.jpg", &known), Part::File("b.jpg", &known[..900])];
    keeps(&document, "/v1/locate/batch", "post", &serving.form("/v1/locate/batch", &batch));
    for format in ["json", "svg"] {
        let address = format!("/v1/explain?place={id}&format={format}&contributions=true");
        keeps(&document, "/v1/explain", "post", &serving.post(&address, &known));
    }
    for (end, path) in [
        ("", "/v1/places/{id}"),
        ("/image", "/v1/places/{id}/image"),
        ("/thumbnail", "/v1/places/{id}/thumbnail"),
    ] {
        keeps(&document, path, "get", &serving.get(&format!("/v1/places/{id}{end}")));
        keeps(&document, path, "get", &serving.get(&format!("/v1/places/x{end}")));
    }
    let gone = serving.send("DELETE", &format!("/v1/places/{id}"), &[], b"");
    keeps(&document, "/v1/places/{id}", "delete", &gone);
}

#[test]
fn every_address_and_parameter_is_in_the_document() {
    let home = Home::new();
    let serving = home.serve();
    let document = serving.get("/openapi.json").json();
    let image = jpeg(1, None);
    let id = "92843bef-5c1c-54d0-9860-88fc96efde74";
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let address = path.replace("{id}", id);
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let reply = serving.send(method, &address, &[], &image);
            let listed = methods.get(method.to_ascii_lowercase()).is_some();
            assert_eq!(reply.status != 405, listed, "{method} {path}: {}", reply.status);
        }
        for (method, operation) in methods.as_object().expect("methods") {
            let parameters = operation["parameters"].as_array().expect("parameters");
            let names: Vec<&str> = parameters
                .iter()
                .filter(|parameter| parameter["in"] == "query")
                .filter_map(|parameter| parameter["name"].as_str())
                .collect();
            if !path.starts_with("/v1/") {
                continue;
            }
            // The service lists what it knows when it is asked for what it does not.
            let said = serving
                .send(&method.to_uppercase(), &format!("{address}?no-such=1"), &[], &image)
                .problem(400);
            let known = said.split("there are ").nth(1).unwrap_or_default();
            assert_eq!(
                known.split(", ").filter(|name| !name.is_empty()).collect::<Vec<_>>(),
                names,
                "{method} {path}"
            );
        }
    }
}
