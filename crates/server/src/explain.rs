//! `POST /v1/explain`: why a photograph and a place match, as JSON or SVG.

use crate::body::{Upload, in_memory, receive};
use crate::index::{Index, PlaceId};
use crate::json::{json_response, typed};
use crate::locate::renamed;
use crate::pictures::stored;
use crate::places::named;
use crate::problem::{Problem, Result};
use crate::service::Service;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, HeaderValue};
use axum::http::{Response, StatusCode};
use r2former_data::image::{Limits, Rgb8, decode_bytes};
use r2former_engine::{
    Contribution, Extractor, ImageFeatures, QueryImage, ScoreKind, Verification, Verifier, contributions,
    score_pair,
};
use r2former_eval::pictures::{PairSide, Photograph, matches};
use r2former_index::{Place, ReadPlaces};
use r2former_model::Placement;
use r2former_model::quantize::dequantize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Parameters of an explanation.
pub(crate) const PARAMS: [&str; 5] = ["index", "place", "contributions", "format", "name"];

/// Pixels of the longer side of photographs in pictures.
const LONGEST: usize = 640;

/// What a picture may load: photographs that are part of it.
const PICTURE: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'";

/// Why do this photograph and this place match?
pub(crate) async fn pair(State(service): State<Arc<Service>>, request: Request) -> Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let mut received = receive(&service, &parts, body, true).await?;
    let params = &received.params;
    params.only(&PARAMS)?;
    let id = params
        .one("place")?
        .ok_or_else(|| Problem::bad_request("place=ID is missing: the place to explain"))?;
    let (index, id, place) = named(&service, params, id).await?;
    let is_svg = params.word("format", &["json", "svg"])? == "svg";
    let with_contributions = params.flag("contributions")?;
    if !index.place.manifest.config.has_local() {
        return Err(Problem::unprocessable("the model of this index has no local features to explain with"));
    }
    if with_contributions && !index.extractor.config().trained.reranker {
        return Err(Problem::unprocessable(
            "contributions: what features do to the score of a trained reranker, which the model of this index has not",
        ));
    }
    let image = renamed(received.one()?, &received.params)?;
    let finished = service.queue.run(service.deadline(), move || {
        index.check()?;
        let pair = Pair::of(&index, &image, id, with_contributions)?;
        match is_svg {
            false => pair.json(&index, &image, id, &place).map(Err),
            true => pair.svg(&index, &image, id, &place).map(Ok),
        }
    });
    let finished = finished.await?;
    service.metrics.stage("queue", finished.waited.as_secs_f64());
    match finished.value? {
        Err(document) => Ok(json_response(StatusCode::OK, &document)),
        Ok(svg) => {
            let mut response = typed(StatusCode::OK, "image/svg+xml", svg);
            response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(PICTURE));
            Ok(response)
        }
    }
}

/// A query and a place, compared.
struct Pair {
    query: ImageFeatures,
    /// Local features of the place, as the index keeps them.
    reference: Vec<f32>,
    similarity: f32,
    /// By the reranker, where it is trained.
    learned: Option<(r2former_engine::PairScore, Vec<Contribution>)>,
    geometry: Verification,
}

impl Pair {
    fn of(index: &Index, image: &Upload, id: PlaceId, with_contributions: bool) -> Result<Self> {
        let extractor = &*index.extractor;
        let query = extractor.extract_image(QueryImage::from(&*image.bytes).named("image"))?;
        let query = query.as_indexed(extractor.config());
        let gone = || Problem::not_found("there is no place of this identifier in the index");
        let local = index.reader.locals(&[id])?.pop().flatten().ok_or_else(gone)?;
        let global = index.reader.globals(&[id])?.pop().flatten().ok_or_else(gone)?;
        let reference = dequantize(&local.rows, local.row_width);
        let geometry = Verifier::new(extractor, &query.local)?.verify(reference.as_slice());
        let learned = match extractor.config().trained.reranker {
            false => None,
            true => {
                let score = score_pair(extractor, &query.local, &reference)?;
                let each = match with_contributions {
                    true => contributions(extractor, &query.local, &reference)?,
                    false => Vec::new(),
                };
                Some((score, each))
            }
        };
        let similarity = query.global.iter().zip(&global).map(|(a, b)| a * b).sum();
        Ok(Self { query, reference, similarity, learned, geometry })
    }

    /// Positions are parts of each photograph's own width and height.
    fn json(&self, index: &Index, image: &Upload, id: PlaceId, place: &Place) -> Result<Value> {
        let extractor = &*index.extractor;
        let query = seen(extractor, || decoded(&image.bytes))?;
        let reference = seen(extractor, || decoded(&stored(index, id, place)?.bytes))?;
        let row = extractor.config().local_row();
        let features = |rows: &[f32], seen: Placement| -> Vec<Value> {
            let feature = |values: &[f32]| {
                let [x, y] = seen.share([values[0], values[1]]);
                json!([x, y, values[2]])
            };
            rows.chunks_exact(row).map(feature).collect()
        };
        let pairs: Vec<Value> = (self.geometry.pairs.iter())
            .map(|pair| {
                json!({
                    "query": query.share(pair.query), "reference": reference.share(pair.reference),
                    "similarity": pair.similarity,
                    "inlier": pair.inlier,
                })
            })
            .collect();
        let each: Vec<Value> = (self.learned.iter().flat_map(|(_, each)| each))
            .map(|c| {
                json!({
                    "query": query.share(c.query), "reference": reference.share(c.reference), "similarity": c.similarity,
                    "margin": c.margin,
                })
            })
            .collect();
        let score = self.learned.as_ref().map(|(score, _)| score);
        let [height, width] = query.resized;
        Ok(json!({
            "query": { "name": image.name, "features": features(&self.query.local, query) },
            "reference": { "id": id.to_string(), "path": place.name, "features": features(&self.reference, reference) },
            "similarity": self.similarity,
            "score": score.map(|score| score.score),
            "score_kind": score.map(|_| ScoreKind::RerankerProbability),
            "logits": score.map(|score| score.logits),
            "pairs": pairs,
            "inliers": self.geometry.inliers,
            "homography": self.geometry.homography,
            "contributions": each,
            "patch": [
                extractor.config().stride() as f32 / width as f32,
                extractor.config().stride() as f32 / height as f32,
            ],
        }))
    }

    /// The program's picture of matches.
    fn svg(&self, index: &Index, image: &Upload, id: PlaceId, place: &Place) -> Result<String> {
        let extractor = &*index.extractor;
        let photo = |bytes: &[u8]| match Photograph::new(decoded(bytes)?, LONGEST) {
            Ok(photo) => Ok(photo.seen_by(extractor)),
            Err(error) => Err(Problem::internal(error.to_string())),
        };
        let (query, reference) = (photo(&image.bytes)?, photo(&stored(index, id, place)?.bytes)?);
        let settings = extractor.settings();
        let learned = self.learned.as_ref().filter(|(_, each)| !each.is_empty());
        Ok(matches(
            PairSide { photo: &query, name: &image.name },
            PairSide { photo: &reference, name: &place.name },
            [settings.height, settings.width],
            learned.map(|(score, each)| (each.as_slice(), score.score)),
            &self.geometry,
        ))
    }
}

fn decoded(bytes: &[u8]) -> Result<Rgb8> {
    Ok(decode_bytes(bytes, in_memory(), &Limits::default())?)
}

/// Which part of a photograph the network sees: of a fixed size, all of any; by a rule, that depends on the photograph.
fn seen(extractor: &Extractor, photo: impl FnOnce() -> Result<Rgb8>) -> Result<Placement> {
    let settings = extractor.settings();
    if settings.rule.is_none() {
        return Ok(Placement::whole([settings.height, settings.width]));
    }
    let photo = photo()?;
    Ok(extractor.place([photo.height, photo.width]))
}
