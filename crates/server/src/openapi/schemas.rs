//! The shapes of answers, for the OpenAPI document.

use serde_json::{Map, Value, json};

/// What answers look like. `docs/answers.md` explains the fields of an answer.
pub(super) fn schemas() -> Value {
    let object = |properties: Value| {
        let required: Vec<&String> = properties.as_object().into_iter().flat_map(Map::keys).collect();
        json!({ "type": "object", "required": required, "properties": properties.clone() })
    };
    let text = || json!({ "type": "string" });
    let integer = || json!({ "type": "integer" });
    let number = || json!({ "type": "number" });
    let boolean = || json!({ "type": "boolean" });
    let or_null = |kind: &str| json!({ "type": [kind, "null"] });
    let list = |items: Value| json!({ "type": "array", "items": items });
    let named = |schema: &str| json!({ "$ref": format!("#/components/schemas/{schema}") });
    let named_or_null = |schema: Value| json!({ "anyOf": [schema, { "type": "null" }] });
    let tags = || json!({ "type": "object", "additionalProperties": { "type": "string" } });
    let point = || json!({ "type": "array", "items": { "type": "number" }, "minItems": 2, "maxItems": 2 });
    let score_kind = || json!({ "enum": ["reranker_probability", "ransac_inliers", "mutual_matches", null] });
    let pair = |last: &str, schema: Value| {
        object(json!({ "query": point(), "reference": point(), "similarity": number(), last: schema }))
    };
    let session = || {
        json!({
            "id": text(), "index": text(), "frames": integer(), "max_speed": or_null("number"), "max_step": number(),
            "idle_seconds": integer(),
        })
    };
    json!({
        "Status": object(json!({ "status": text() })),
        "Problem": object(json!({
            "type": text(), "title": text(), "status": integer(), "detail": text(), "instance": text(),
        })),
        "Position": json!({ "anyOf": [
            object(json!({ "lat": number(), "lon": number() })),
            { "type": "object", "required": ["x", "y"], "properties": { "x": number(), "y": number(), "z": number() } },
        ] }),
        "Match": object(json!({
            "rank": integer(), "id": text(), "path": text(), "tags": tags(),
            "position": named_or_null(named("Position")), "heading": or_null("number"), "time": or_null("integer"),
            "distance_m": or_null("number"), "similarity": number(), "score": or_null("number"),
            "score_kind": score_kind(),
        })),
        "Estimate": object(json!({
            "best": named("Position"), "weighted": named("Position"), "heading": or_null("number"),
            "ellipse": named_or_null(named("Ellipse")), "agreeing": integer(), "considered": integer(),
            "spread_m": number(),
        })),
        "Ellipse": object(json!({ "major_m": number(), "minor_m": number(), "angle_deg": number() })),
        "Answer": object(json!({
            "query": text(), "status": { "enum": ["answered", "not_in_index", "no_match"] },
            "confidence": or_null("number"), "matches": list(named("Match")),
            "prior": named_or_null(object(json!({ "center": named("Position"), "radius_m": number() }))),
            "estimate": named_or_null(named("Estimate")),
            "rerank": { "enum": ["model", "ransac", "mutual", "none"] }, "reranking_skipped": boolean(),
            "notes": list(text()),
            "timing": object(json!({
                "decode_ms": number(), "extract_ms": number(), "search_ms": number(), "fetch_ms": number(),
                "rerank_ms": number(),
            })),
        })),
        "Unreadable": object(json!({ "query": text(), "status": { "enum": ["unreadable"] }, "error": text() })),
        "Answers": object(json!({ "answers": list(json!({ "anyOf": [named("Answer"), named("Unreadable")] })) })),
        "Session": object(session()),
        "Frame": object(json!({
            "session": text(), "frame": integer(), "time": or_null("number"),
            "fix": named_or_null(object(json!({
                "place": named("Match"), "position": named_or_null(named("Position")), "probability": number(),
            }))),
            "answer": named("Answer"),
        })),
        "TrackPlace": object(json!({
            "id": text(), "path": text(), "position": named_or_null(named("Position")), "heading": or_null("number"),
        })),
        "Track": object({
            let mut track = session();
            track["track"] = list(object(json!({
                "frame": integer(), "query": text(), "time": or_null("number"),
                "status": { "enum": ["answered", "not_in_index", "no_match"] }, "confidence": or_null("number"),
                "place": named_or_null(named("TrackPlace")), "position": named_or_null(named("Position")),
                "probability": or_null("number"), "own": named_or_null(named("TrackPlace")),
            })));
            track
        }),
        "Place": json!({
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": text(), "position": named("Position"), "heading": number(), "time": integer(),
                "altitude": number(), "tags": tags(), "file": text(),
            },
        }),
        "Entry": object(json!({ "id": text(), "place": named("Place") })),
        "Added": object(json!({ "id": text(), "place": named("Place"), "notes": list(text()) })),
        "Places": object(json!({ "places": list(named("Entry")), "next": or_null("string") })),
        "Indexes": object(json!({
            "version": text(),
            "indexes": list(object(json!({
                "name": text(), "images": integer(), "changes": or_null("integer"), "created": text(),
                "positions": { "type": "object", "required": ["kind"], "properties": {
                    "kind": { "enum": ["wgs84", "local", "none"] }, "origin": { "type": "object" },
                } },
                "extent": or_null("object"), "bytes": integer(),
                "model": object(json!({
                    "name": text(), "fingerprint": text(),
                    "calibration": named_or_null(object(json!({ "radius_m": number(), "threshold": number() }))),
                })),
                "input": object(json!({ "height": integer(), "width": integer() })),
                "rerank": object(json!({ "methods": list(text()), "default": text() })),
            }))),
            "limits": object(json!({
                "body_bytes": integer(), "images_per_batch": integer(), "top": integer(), "candidates": integer(),
            })),
        })),
        "Explanation": object(json!({
            "query": object(json!({ "name": text(), "features": list(json!({ "type": "array", "items": number() })) })),
            "reference": object(json!({
                "id": text(), "path": text(), "features": list(json!({ "type": "array", "items": number() })),
            })),
            "similarity": number(), "score": or_null("number"), "score_kind": score_kind(),
            "logits": or_null("array"), "pairs": list(pair("inlier", boolean())), "inliers": integer(),
            "homography": or_null("array"), "contributions": list(pair("margin", number())), "patch": point(),
        })),
    })
}
