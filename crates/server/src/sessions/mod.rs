//! `/v1/sessions`: frames that come one after the other, each answered by itself and together with those before it.

mod documents;
mod table;

pub(crate) use self::table::Sessions;

use self::documents::{collection, created, listing};
use self::table::{Owner, Pushed, Session, Stated};
use crate::body::{Upload, in_memory, receive};
use crate::index::Index;
use crate::json::{json_response, typed};
use crate::keys::Identity;
use crate::locate::{Question, renamed, stages, turn};
use crate::params::Params;
use crate::places::{GEO_JSON, check_geojson};
use crate::problem::{Problem, Result};
use crate::service::{Service, blocking};
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{HeaderValue, LOCATION};
use axum::http::{Extensions, Response, StatusCode};
use r2former_data::image::tags_of_bytes;
use r2former_engine::{PositionKind, SequenceOptions, check_motion};
use r2former_index::FileFingerprint;
use serde_json::Value;
use std::sync::Arc;

/// Parameters of a new session: how its frames are searched, and how far it moves.
pub(crate) const PARAMS: [&str; 13] = [
    "index",
    "top",
    "candidates",
    "rerank",
    "approximate",
    "near",
    "radius",
    "tag",
    "since",
    "until",
    "min_confidence",
    "max_speed",
    "max_step",
];

/// Parameters of a frame.
pub(crate) const FRAME_PARAMS: [&str; 4] = ["frame", "time", "moved", "name"];

/// Largest motion bounds: metres per second, and metres.
const FASTEST: f64 = 1000.0;
const FARTHEST: f64 = 100_000.0;

/// Images of an index without positions, whose order of names every session keeps for itself.
const MOST_ORDERED: usize = 20_000;

/// Begins a session.
pub(crate) async fn create(State(service): State<Arc<Service>>, request: Request) -> Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let owner = owner(&parts.extensions);
    let received = receive(&service, &parts, body, false).await?;
    let params = &received.params;
    params.only(&PARAMS)?;
    if !received.images.is_empty() {
        return Err(Problem::bad_request("a session begins without an image: send frames to its address"));
    }
    let question = Question::asked(&service, params)?;
    let bounds = [params.number("max_speed", 0.0..=FASTEST)?, params.number("max_step", 0.0..=FARTHEST)?];
    let index = question.index.clone();
    let options = blocking(move || options(&index, bounds)).await?;
    let session = service.sessions.begin(owner, service.rights.has_keys(), question, options)?;
    let mut response = json_response(StatusCode::CREATED, &created(&session, service.sessions.idle()));
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/sessions/{}", session.id)) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// How the frames of a session move in an index.
fn options(index: &Index, bounds: [Option<f64>; 2]) -> Result<SequenceOptions> {
    check_motion(index.kind(), bounds[0], None)?;
    if index.kind() == PositionKind::None && index.count()? > MOST_ORDERED {
        return Err(Problem::unprocessable(format!(
            "an index without positions has sessions up to {MOST_ORDERED} images"
        )));
    }
    Ok(SequenceOptions::of_index(&index.reader, index.kind(), bounds)?)
}

/// Takes the next frame.
pub(crate) async fn frame(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let owner = owner(&parts.extensions);
    let mut received = receive(&service, &parts, body, true).await?;
    let params = &received.params;
    params.only(&FRAME_PARAMS)?;
    let session = service.sessions.find(&id, owner)?;
    let number = params.count("frame", 1..=u32::MAX)?;
    let time = params.number("time", -1e12..=1e12)?;
    let moved_m = params.number("moved", 0.0..=1e9)?;
    check_motion(session.question.index.kind(), None, moved_m)?;
    let image = renamed(received.one()?, &received.params)?;
    let stated = Stated { image: FileFingerprint::of(&image.bytes), time, moved_m };
    let _one_at_a_time = session.take()?;
    let number = match session.expect(number, stated)? {
        Pushed::Before(answer) => return Ok(json_response(StatusCode::OK, &answer)),
        Pushed::Next(number) => number,
    };
    let work = {
        let session = session.clone();
        move || answer(&session, number, stated, &image)
    };
    let (document, timing) = turn(&service, service.deadline(), work).await?;
    stages(&service, &timing);
    Ok(json_response(StatusCode::OK, &document))
}

/// Answers a frame by itself, and puts it behind those before.
fn answer(
    session: &Session,
    number: usize,
    stated: Stated,
    image: &Upload,
) -> Result<(Value, r2former_engine::Timing)> {
    let exif = || {
        let tags = tags_of_bytes(&image.bytes, in_memory()).ok()?;
        tags.time.map(|seconds| seconds as f64)
    };
    let answer = session.question.clone().every_candidate().answer(image)?;
    let timing = answer.timing;
    Ok((session.push(number, answer, stated, exif)?, timing))
}

/// The track so far.
pub(crate) async fn track(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response<Body>> {
    let params = Params::of_query(request.uri().query())?;
    params.only(&["format", "after"])?;
    let is_geojson = params.word("format", &["json", "geojson"])? == "geojson";
    let after = params.count("after", 0..=u32::MAX)?.unwrap_or(0);
    let session = service.sessions.find(&id, owner(request.extensions()))?;
    if !is_geojson {
        return Ok(json_response(StatusCode::OK, &listing(&session, after, service.sessions.idle())));
    }
    check_geojson(&session.question.index)?;
    Ok(typed(StatusCode::OK, GEO_JSON, collection(&session, after).to_string()))
}

/// Ends a session.
pub(crate) async fn end(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response<Body>> {
    Params::of_query(request.uri().query())?.only(&[])?;
    service.sessions.end(&id, owner(request.extensions()))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

fn owner(extensions: &Extensions) -> Owner {
    extensions.get::<Identity>().and_then(|identity| identity.key)
}
