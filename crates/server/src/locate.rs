//! `POST /v1/locate` and `/v1/locate/batch`: where was this taken?

use crate::body::{Received, Sent, Upload, in_memory, receive};
use crate::index::Index;
use crate::json::json_response;
use crate::params::{Params, Prior};
use crate::problem::{Problem, Result};
use crate::service::Service;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use r2former_data::image::tags_of_bytes;
use r2former_engine::{
    Answer, LocateOptions, Near, QueryImage, QueryResult, Timing, answers_json, locate, why_nothing,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Parameters of a query; those of a batch are called as their files are.
const PARAMS: [&str; 14] = [
    "index",
    "top",
    "candidates",
    "rerank",
    "cascade",
    "adaptive",
    "approximate",
    "near",
    "radius",
    "tag",
    "since",
    "until",
    "min_confidence",
    "name",
];

/// How long a batch waits before it asks for a turn again.
const AGAIN: Duration = Duration::from_millis(50);

/// What is asked of an index.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) index: Arc<Index>,
    options: LocateOptions,
    /// Matches in the answer.
    top: usize,
    prior: Prior,
}

impl Question {
    /// By parameters whose names are known.
    ///
    /// # Errors
    /// What is not understood, and what the index or its model cannot do.
    pub(crate) fn asked(service: &Service, params: &Params) -> Result<Self> {
        let index = service.index(params)?;
        let mut options = params.locate_options()?;
        options.min_confidence = params.min_confidence(index.extractor.config().calibration.as_ref())?;
        options.check(index.extractor.config())?;
        if options.approximate && index.place.address().folder().is_some() {
            return Err(Problem::unprocessable(
                "approximate: this index is searched exactly; that is for a collection of a cluster",
            ));
        }
        let prior = params.prior(index.kind())?;
        Ok(Self { index, top: options.top, options, prior })
    }

    /// Matches in the answer.
    pub(crate) fn top(&self) -> usize {
        self.top
    }

    /// Answers with all candidates.
    pub(crate) fn every_candidate(mut self) -> Self {
        self.options.top = self.options.top.max(self.options.candidates);
        self
    }

    /// Computes the answer.
    pub(crate) fn answer(mut self, image: &Upload) -> Result<Answer> {
        self.index.check()?;
        let mut note = None;
        self.options.filter.near = match self.prior {
            Prior::Everywhere => None,
            Prior::Near(near) => Some(near),
            Prior::Exif(radius) => {
                let tags = tags_of_bytes(&image.bytes, in_memory());
                let position = tags.ok().and_then(|tags| tags.position);
                if position.is_none() {
                    note = Some("has no GPS position in its EXIF: searched everywhere".to_owned());
                }
                position.map(|position| Near::new(position, radius))
            }
        };
        let Index { reader, extractor, .. } = &*self.index;
        let query = QueryImage::from(&*image.bytes).named(image.name.as_str());
        let mut answer = locate(reader, extractor, query, &self.options)?;
        answer.notes.extend(note);
        if answer.matches.is_empty() {
            answer.notes.extend(why_nothing(reader, &self.options.filter)?);
        }
        Ok(answer)
    }
}

/// Waits for a turn, and computes.
async fn ask(service: &Service, question: Question, image: Upload, deadline: Instant) -> Result<Answer> {
    let answer = turn(service, deadline, move || question.answer(&image)).await?;
    stages(service, &answer.timing);
    Ok(answer)
}

/// Waits for a turn, and does `work`.
pub(crate) async fn turn<T: Send + 'static>(
    service: &Service,
    deadline: Instant,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let finished = service.queue.run(deadline, work).await?;
    service.metrics.stage("queue", finished.waited.as_secs_f64());
    finished.value
}

/// Counts the stages of a query.
pub(crate) fn stages(service: &Service, t: &Timing) {
    for (stage, ms) in [
        ("decode", t.decode_ms),
        ("extract", t.extract_ms),
        ("search", t.search_ms),
        ("fetch", t.fetch_ms),
        ("rerank", t.rerank_ms),
    ] {
        service.metrics.stage(stage, ms / 1000.0);
    }
}

/// Where was this photograph taken?
pub(crate) async fn one(State(service): State<Arc<Service>>, request: Request) -> Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let mut received = receive(&service, &parts, body, true).await?;
    received.params.only(&PARAMS)?;
    let question = Question::asked(&service, &received.params)?;
    let image = renamed(received.one()?, &received.params)?;
    let answer = ask(&service, question, image, service.deadline()).await?;
    Ok(json_response(StatusCode::OK, &answers_json(&[QueryResult::Answer(answer)])))
}

/// Where were these photographs taken? One after the other, so that a batch has one place in the queue.
pub(crate) async fn batch(State(service): State<Arc<Service>>, request: Request) -> Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let Received { params, images } = receive(&service, &parts, body, true).await?;
    if images.is_empty() {
        return Err(Problem::bad_request("there is no image: send parts called image of a multipart form"));
    }
    params.only(&PARAMS[..PARAMS.len() - 1])?;
    let question = Question::asked(&service, &params)?;
    let mut results = Vec::with_capacity(images.len());
    for Sent { name: query, image } in images {
        let image = match image {
            Ok(image) => image,
            Err(problem) => {
                results.push(QueryResult::Unreadable { query, error: problem.detail().to_owned() });
                continue;
            }
        };
        let deadline = service.deadline();
        let answer = loop {
            match ask(&service, question.clone(), image.clone(), deadline).await {
                Err(problem)
                    if problem.status == StatusCode::TOO_MANY_REQUESTS && Instant::now() < deadline =>
                {
                    tokio::time::sleep(AGAIN).await;
                }
                answer => break answer,
            }
        };
        results.push(match answer {
            Ok(answer) => QueryResult::Answer(answer),
            Err(problem) if problem.status == StatusCode::UNPROCESSABLE_ENTITY => {
                QueryResult::Unreadable { query, error: problem.detail().to_owned() }
            }
            Err(problem) => return Err(problem),
        });
    }
    Ok(json_response(StatusCode::OK, &answers_json(&results)))
}

/// A query is called by the parameter `name`, where there is one.
pub(crate) fn renamed(mut image: Upload, params: &Params) -> Result<Upload> {
    if let Some(name) = params.query_name()? {
        image.name = name.to_owned();
    }
    Ok(image)
}
