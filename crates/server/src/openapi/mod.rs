//! The OpenAPI document. The tests hold it to the router and to real answers.

mod params;
mod schemas;

use self::params::{
    INDEX, Param, add_params, batch_params, explain_params, frame_params, list_params, locate_params,
    session_params, track_params,
};
use self::schemas::schemas;
use crate::problem::PROBLEM_JSON;
use serde_json::{Map, Value, json};

/// Statuses of errors that an operation may answer with.
const ASKING: &[u16] = &[400, 401, 403, 404, 429, 503];
const COMPUTING: &[u16] = &[400, 401, 403, 404, 408, 413, 415, 422, 429, 503];
const WRITING: &[u16] = &[400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503, 507];

/// The document.
pub(crate) fn document() -> Value {
    let json_of =
        |schema: &str| ("application/json", json!({ "$ref": format!("#/components/schemas/{schema}") }));
    let mut paths = Map::new();
    let mut put = |path: &str, method: &str, operation: Value| {
        let entry = paths.entry(path).or_insert_with(|| json!({}));
        entry[method] = operation;
    };
    let any = || json!({ "type": "string" });
    let binary = || json!({ "type": "string", "format": "binary" });
    for (path, method, summary, params, image, answers, errors) in [
        ("/", "get", "A page for people", vec![], Image::None, vec![(200, "text/html", any())], &[][..]),
        ("/healthz", "get", "Whether the process is alive", vec![], Image::None, ok(json_of("Status")), &[]),
        (
            "/readyz",
            "get",
            "Whether requests are answered",
            vec![],
            Image::None,
            ok(json_of("Status")),
            &[503],
        ),
        (
            "/metrics",
            "get",
            "Counters and histograms for Prometheus",
            vec![],
            Image::None,
            vec![(200, "text/plain", any())],
            &[401, 403, 429],
        ),
        (
            "/openapi.json",
            "get",
            "This document",
            vec![],
            Image::None,
            vec![(200, "application/json", json!({ "type": "object" }))],
            &[],
        ),
        (
            "/docs",
            "get",
            "This document for people",
            vec![],
            Image::None,
            vec![(200, "text/html", any())],
            &[],
        ),
        (
            "/v1/indexes",
            "get",
            "Indexes, and what may be asked of each",
            vec![],
            Image::None,
            ok(json_of("Indexes")),
            ASKING,
        ),
        (
            "/v1/locate",
            "post",
            "Where was this photograph taken?",
            locate_params(),
            Image::One,
            ok(json_of("Answers")),
            COMPUTING,
        ),
        (
            "/v1/locate/batch",
            "post",
            "Where were these photographs taken? At most limits.images_per_batch of /v1/indexes",
            batch_params(),
            Image::Several,
            ok(json_of("Answers")),
            COMPUTING,
        ),
        (
            "/v1/explain",
            "post",
            "Why do this photograph and this place match?",
            explain_params(),
            Image::One,
            vec![
                (200, "application/json", json!({ "$ref": "#/components/schemas/Explanation" })),
                (200, "image/svg+xml", any()),
            ],
            COMPUTING,
        ),
        (
            "/v1/sessions",
            "post",
            "Begin a session: frames that come one after the other",
            session_params(),
            Image::None,
            {
                let (kind, schema) = json_of("Session");
                vec![(201, kind, schema)]
            },
            COMPUTING,
        ),
        (
            "/v1/sessions/{id}",
            "get",
            "The track of a session so far",
            track_params(),
            Image::None,
            vec![
                (200, "application/json", json!({ "$ref": "#/components/schemas/Track" })),
                (200, crate::places::GEO_JSON, json!({ "type": "object" })),
            ],
            &[400, 401, 403, 404, 422, 429],
        ),
        (
            "/v1/sessions/{id}",
            "delete",
            "End a session",
            vec![],
            Image::None,
            vec![],
            &[400, 401, 403, 404, 429],
        ),
        (
            "/v1/sessions/{id}/frames",
            "post",
            "Where was the next frame taken, by itself and by all frames so far?",
            frame_params(),
            Image::One,
            ok(json_of("Frame")),
            &[400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503],
        ),
        (
            "/v1/places",
            "get",
            "A page of places",
            list_params(),
            Image::None,
            vec![
                (200, "application/json", json!({ "$ref": "#/components/schemas/Places" })),
                (200, crate::places::GEO_JSON, json!({ "type": "object" })),
            ],
            &[400, 401, 403, 404, 422, 429, 503],
        ),
        (
            "/v1/places",
            "post",
            "Add a photograph with its position; it is searchable and durable when this answers",
            add_params(),
            Image::One,
            {
                let (kind, schema) = json_of("Added");
                vec![(201, kind, schema.clone()), (200, kind, schema)]
            },
            WRITING,
        ),
        ("/v1/places/{id}", "get", "A place", vec![INDEX], Image::None, ok(json_of("Entry")), ASKING),
        (
            "/v1/places/{id}",
            "delete",
            "Remove a place; one that was not added through the service needs the role admin",
            vec![INDEX],
            Image::None,
            vec![],
            WRITING,
        ),
        (
            "/v1/places/{id}/image",
            "get",
            "The photograph of a place, as it was indexed",
            vec![INDEX],
            Image::None,
            vec![(200, "image/*", binary())],
            ASKING,
        ),
        (
            "/v1/places/{id}/thumbnail",
            "get",
            "A small JPEG of the photograph of a place",
            vec![
                INDEX,
                Param(
                    "size",
                    || json!({ "type": "integer", "minimum": 16, "maximum": 1024, "default": 320 }),
                    "The longer side in pixels.",
                ),
            ],
            Image::None,
            vec![(200, "image/jpeg", binary())],
            ASKING,
        ),
    ] {
        put(path, method, operation(path, method, summary, &params, image, answers, errors));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "r2former",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Find out where a photograph was taken, from an index of photographs with known positions.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{}, { "bearer": [] }, { "apiKey": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "apiKey": { "type": "apiKey", "in": "header", "name": "X-Api-Key" },
            },
            "schemas": schemas(),
        },
    })
}

fn ok((kind, schema): (&'static str, Value)) -> Vec<(u16, &'static str, Value)> {
    vec![(200, kind, schema)]
}

/// Photographs of a body.
#[derive(Clone, Copy, PartialEq)]
enum Image {
    None,
    One,
    Several,
}

fn operation(
    path: &str,
    method: &str,
    summary: &str,
    params: &[Param],
    image: Image,
    answers: Vec<(u16, &'static str, Value)>,
    errors: &[u16],
) -> Value {
    let mut parameters: Vec<Value> = params
        .iter()
        .map(|Param(name, schema, what)| {
            json!({ "name": name, "in": "query", "description": what, "schema": schema() })
        })
        .collect();
    if path.contains("{id}") {
        let what = match path.starts_with("/v1/sessions") {
            true => "Identifier of the session.",
            false => "Identifier of the place: the UUID of its name.",
        };
        parameters.push(json!({
            "name": "id", "in": "path", "required": true, "description": what,
            "schema": { "type": "string", "format": "uuid" },
        }));
    }
    let mut responses = Map::new();
    for (status, kind, schema) in answers {
        let entry = responses
            .entry(status.to_string())
            .or_insert_with(|| json!({ "description": description(status), "content": {} }));
        entry["content"][kind] = json!({ "schema": schema });
    }
    if method == "delete" {
        responses.insert("204".into(), json!({ "description": description(204) }));
    }
    if path.ends_with("/image") || path.ends_with("/thumbnail") {
        responses.insert("304".into(), json!({ "description": description(304) }));
    }
    for status in errors.iter().chain(&[500]) {
        let schema = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
        responses.insert(
            status.to_string(),
            json!({ "description": description(*status), "content": { PROBLEM_JSON: schema } }),
        );
    }
    // Before the service sees a request.
    responses.insert("431".into(), json!({ "description": description(431) }));
    let id: String =
        path.split(['/', '{', '}', '.']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_");
    let mut operation = json!({
        "operationId": format!("{method}_{}", if id.is_empty() { "page" } else { &id }),
        "summary": summary,
        "parameters": parameters,
        "responses": responses,
    });
    if image != Image::None {
        operation["requestBody"] = request_body(params, image);
    }
    operation
}

/// An image as it is, or a form with the image and the parameters as fields.
fn request_body(params: &[Param], image: Image) -> Value {
    let binary = json!({ "type": "string", "format": "binary" });
    let mut fields = Map::new();
    match image {
        Image::Several => {
            fields.insert("image".into(), json!({ "type": "array", "items": binary.clone(), "minItems": 1 }))
        }
        _ => fields.insert("image".into(), binary.clone()),
    };
    for Param(name, schema, what) in params {
        let mut schema = schema();
        schema["description"] = (*what).into();
        fields.insert((*name).into(), schema);
    }
    let form = json!({ "schema": { "type": "object", "properties": fields, "required": ["image"] } });
    let mut content = json!({ "multipart/form-data": form });
    if image == Image::One {
        for kind in ["image/*", "application/octet-stream"] {
            content[kind] = json!({ "schema": binary.clone() });
        }
    }
    json!({ "required": true, "content": content })
}

fn description(status: u16) -> &'static str {
    match status {
        200 => "Done.",
        201 => "Created.",
        204 => "Removed.",
        304 => "As the client knows it.",
        400 => "The request is not understood.",
        401 => "A key is needed.",
        403 => "The key's role, the page's origin or the header Host does not allow this.",
        404 => "There is nothing here.",
        408 => "The body came too slowly.",
        409 => "Something else is there: another place of this name, another frame.",
        413 => "The body is too large.",
        415 => "No image that is read.",
        422 => "Understood, and cannot be used.",
        431 => "The address and headers are too long; without a body.",
        429 => "Too many requests; Retry-After says when.",
        503 => "Not now; Retry-After says when.",
        507 => "The disk is full.",
        _ => "The service failed.",
    }
}
