//! Parameters of the operations.

use serde_json::{Value, json};

/// A parameter of the address, or a field of the form.
pub(super) struct Param(pub(super) &'static str, pub(super) fn() -> Value, pub(super) &'static str);

fn text() -> Value {
    json!({ "type": "string" })
}

fn flag() -> Value {
    json!({ "type": "boolean", "default": false })
}

fn number() -> Value {
    json!({ "type": "number" })
}

fn count(most: u32, default: usize) -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": most, "default": default })
}

fn words(words: &[&str]) -> Value {
    json!({ "type": "string", "enum": words, "default": words.first() })
}

pub(super) const INDEX: Param = Param("index", text, "Name of the index; the first by default.");
const NEAR: Param = Param(
    "near",
    text,
    "Consider only places around this position: LAT,LON in degrees, X,Y[,Z] in metres, or exif: the photograph's own.",
);
const RADIUS: Param = Param("radius", number, "Radius around near in metres.");
const TAG: Param = Param(
    "tag",
    || json!({ "type": "array", "items": { "type": "string", "pattern": "^[^=]+=" } }),
    "KEY=VALUE: only places that carry this tag; of a new place, a tag that it carries, of at most 200 and 1000 bytes. May be \
     repeated.",
);
const SINCE: Param =
    Param("since", text, "Only places of this time or later: a date of UTC, or a time with its zone.");
const UNTIL: Param = Param("until", text, "Only places of this time or before; a date to its end.");
const NAME: Param =
    Param("name", text, "What the query is called in the answer; its file's name by default.");

pub(super) fn locate_params() -> Vec<Param> {
    vec![
        INDEX,
        Param("top", || count(crate::params::MOST, 5), "Matches in the answer."),
        Param("candidates", || count(crate::params::MOST, 100), "Candidates that are reranked."),
        Param(
            "rerank",
            || json!({ "type": "string", "enum": ["model", "ransac", "mutual", "none"] }),
            "Reranking method; the model's best by default.",
        ),
        Param(
            "cascade",
            || json!({ "type": "integer", "minimum": 1, "maximum": crate::params::MOST }),
            "Candidates that the model reranks: those that geometry ranks first; by default as many as its file says, or all.",
        ),
        Param(
            "adaptive",
            || json!({ "type": "number", "minimum": 0, "maximum": 2 }),
            "Keep the global ranking where its top-1 margin is at least this; not with rerank=none.",
        ),
        Param("approximate", flag, "Search an index of a cluster by its graph: faster, and not exact."),
        NEAR,
        RADIUS,
        TAG,
        SINCE,
        UNTIL,
        Param(
            "min_confidence",
            || json!({ "anyOf": [{ "type": "number", "minimum": 0, "maximum": 1 }, { "const": "auto" }] }),
            "Answers of less confidence have the status not_in_index; auto is the threshold of the model's calibration.",
        ),
        NAME,
    ]
}

/// Photographs of a batch are called as their files are.
pub(super) fn batch_params() -> Vec<Param> {
    let mut params = locate_params();
    params.retain(|Param(name, ..)| *name != "name");
    params
}

pub(super) fn list_params() -> Vec<Param> {
    vec![
        INDEX,
        Param("limit", || count(5000, 100), "Places of a page at most."),
        Param(
            "after",
            || json!({ "type": "string", "format": "uuid" }),
            "Where the page starts: next of the page before.",
        ),
        Param(
            "bbox",
            text,
            "Only places in this box: west,south,east,north in degrees, or minimum x,y and maximum x,y in metres; not in an \
             index without positions.",
        ),
        Param("near", text, "Only places around this position: LAT,LON or X,Y[,Z]."),
        RADIUS,
        TAG,
        SINCE,
        UNTIL,
        Param("format", || words(&["json", "geojson"]), "Plain JSON, or a FeatureCollection."),
    ]
}

pub(super) fn add_params() -> Vec<Param> {
    vec![
        INDEX,
        Param(
            "position",
            text,
            "Where it was taken: LAT,LON in degrees, or X,Y[,Z] in metres; by default what its EXIF says.",
        ),
        Param("heading", number, "Viewing direction in degrees clockwise from north."),
        Param("altitude", number, "Height in metres."),
        Param(
            "time",
            || json!({ "anyOf": [{ "type": "integer" }, { "type": "string" }] }),
            "When it was taken: seconds since 1970 UTC, a time with its zone (2024-05-31T18:30:00Z), or a day of UTC \
             (2024-05-31), which is its start.",
        ),
        TAG,
        Param(
            "name",
            text,
            "Its name of at most 200 bytes, without '/', '\\' and '#', its letters composed (NFC); by default made from its bytes, so that the same photograph is the same \
             place.",
        ),
        Param(
            "panorama",
            || words(&crate::adding::PANORAMA),
            "A panorama that could be cut into views is refused, or taken whole, squeezed to the model's shape.",
        ),
        Param("replace", flag, "Take the place of another photograph of this name."),
    ]
}

pub(super) fn explain_params() -> Vec<Param> {
    vec![
        INDEX,
        Param("place", text, "Identifier of the place. Required."),
        Param(
            "contributions",
            flag,
            "Also what each local feature of the query does to the score of a trained reranker; this scores a pair for each.",
        ),
        Param("format", || words(&["json", "svg"]), "Figures, or a picture of the matches."),
        NAME,
    ]
}

/// How the frames of a session are searched: as a query, but for what would make its frames incomparable.
pub(super) fn session_params() -> Vec<Param> {
    let mut params: Vec<Param> = locate_params()
        .into_iter()
        .filter(|Param(name, ..)| !matches!(*name, "adaptive" | "cascade" | "name"))
        .collect();
    params.push(Param(
        "max_speed",
        || json!({ "type": "number", "minimum": 0, "maximum": 1000 }),
        "Metres per second that are not exceeded, where frames have times, 15 by default; not in an index without positions.",
    ));
    params.push(Param(
        "max_step",
        || json!({ "type": "number", "minimum": 0, "maximum": 100_000 }),
        "Metres between two frames that are not exceeded, where a time is missing, 15 by default; in an index without positions \
         places in the order of their names, 3 by default.",
    ));
    params
}

pub(super) fn frame_params() -> Vec<Param> {
    vec![
        Param(
            "frame",
            || json!({ "type": "integer", "minimum": 1 }),
            "Its number, from 1: the last one again, with the same bytes, time and moved, is answered as before and not taken \
             twice; any other out of its turn is refused.",
        ),
        Param(
            "time",
            number,
            "Its time in seconds, from any start; what its EXIF says where no frame states a time.",
        ),
        Param(
            "moved",
            || json!({ "type": "number", "minimum": 0 }),
            "Metres travelled since the frame before, by odometry; not in an index without positions.",
        ),
        NAME,
    ]
}

pub(super) fn track_params() -> Vec<Param> {
    vec![
        Param("format", || words(&["json", "geojson"]), "Plain JSON, or a FeatureCollection."),
        Param(
            "after",
            || json!({ "type": "integer", "minimum": 0, "default": 0 }),
            "Only frames behind this one.",
        ),
    ]
}
