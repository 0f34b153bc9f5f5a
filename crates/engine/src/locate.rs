//! One query: photograph, descriptor, candidates, reranked places, answer.

use crate::framing::named;
use crate::{
    Answer, DecodedQuery, EngineError, Estimate, Evidence, Extractor, Match, QueryImage, RerankMethod,
    Result, ScoreKind, Status, Timing, rank_candidates, top1_margin,
};
use r2former_index::{Filter, Hit, Near, ReadPlaces};
use r2former_model::ModelConfig;
use std::path::Path;
use std::time::Instant;

/// How to search. The default reranks 100 candidates by the model's best method, wherever they are, and
/// answers with the best 5.
///
/// ```
/// use r2former_engine::{LatLon, LocateOptions, Near, RerankMethod};
///
/// let near = Near::new(LatLon::new(52.205, 0.119)?, 500.0);
/// let options = LocateOptions::default().top(1).rerank(RerankMethod::None).near(near).tag("camera", "front").since(1_700_000_000);
/// assert_eq!((options.top, options.candidates, options.filter.near), (1, 100, Some(near)));
/// assert_eq!(options.filter.tags["camera"], "front");
/// # Ok::<(), r2former_data::geo::InvalidPosition>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LocateOptions {
    /// Matches in the answer; 5 by default.
    pub top: usize,
    /// Candidates of the global search that are reranked; 100 by default.
    pub candidates: usize,
    /// Reranking method; by default [`RerankMethod::default_of`] the model.
    pub rerank: Option<RerankMethod>,
    /// Of the candidates those that the model's reranker scores: the ones that RANSAC ranks first; the
    /// others follow in its order, without a score. By default as many as the
    /// model's file says, or all; as many as there are candidates, or more, means all. Other methods do not use it.
    pub cascade: Option<usize>,
    /// Keep the global ranking where its [`top1_margin`] (a difference of cosines) is at least this; by default
    /// every query is reranked.
    pub adaptive: Option<f32>,
    /// Answers of less [confidence](Answer::confidence) are [`Status::NotInIndex`]; by default none are. A model that is
    /// not calibrated cannot meet it.
    pub min_confidence: Option<f64>,
    /// Search a collection by its graph, which is faster and may miss some of the most similar places; exact by default. An
    /// index in a folder refuses it: its search is always exact.
    pub approximate: bool,
    /// Which places are searched: near a prior position, with tags, of a time; by default all.
    pub filter: Filter,
}

impl Default for LocateOptions {
    fn default() -> Self {
        Self {
            top: 5,
            candidates: 100,
            rerank: None,
            cascade: None,
            adaptive: None,
            min_confidence: None,
            approximate: false,
            filter: Filter::default(),
        }
    }
}

impl LocateOptions {
    /// Sets the number of matches in the answer.
    #[must_use]
    pub fn top(mut self, matches: usize) -> Self {
        self.top = matches;
        self
    }

    /// Sets the number of candidates that are reranked.
    #[must_use]
    pub fn candidates(mut self, candidates: usize) -> Self {
        self.candidates = candidates;
        self
    }

    /// Sets the reranking method.
    #[must_use]
    pub fn rerank(mut self, method: RerankMethod) -> Self {
        self.rerank = Some(method);
        self
    }

    /// Has geometry choose the candidates that the model's reranker scores, this many.
    #[must_use]
    pub fn cascade(mut self, candidates: usize) -> Self {
        self.cascade = Some(candidates);
        self
    }

    /// Keeps the global ranking where its top-1 margin is at least `margin`, a difference of two cosines.
    #[must_use]
    pub fn adaptive(mut self, margin: f32) -> Self {
        self.adaptive = Some(margin);
        self
    }

    /// Calls a query whose answer has less confidence than this [`Status::NotInIndex`]: a probability, 0 to 1.
    #[must_use]
    pub fn min_confidence(mut self, probability: f64) -> Self {
        self.min_confidence = Some(probability);
        self
    }

    /// Searches a collection approximately.
    #[must_use]
    pub fn approximate(mut self, approximate: bool) -> Self {
        self.approximate = approximate;
        self
    }

    /// Considers only places near a prior position.
    #[must_use]
    pub fn near(mut self, near: Near) -> Self {
        self.filter.near = Some(near);
        self
    }

    /// Considers only places that carry a tag; called again, those that carry both.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.filter.tags.insert(key.into(), value.into());
        self
    }

    /// Considers only places with a time that is not before this one: seconds since 1970-01-01 UTC.
    #[must_use]
    pub fn since(mut self, seconds: i64) -> Self {
        self.filter.since = Some(seconds);
        self
    }

    /// Considers only places with a time that is not after this one.
    #[must_use]
    pub fn until(mut self, seconds: i64) -> Self {
        self.filter.until = Some(seconds);
        self
    }

    /// Considers only places that pass a filter; it replaces what was set before.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// Refuses what a model cannot do, and what would mean nothing, before anything is computed.
    ///
    /// # Errors
    /// [`EngineError::Request`] for a reranking method that the model cannot do, a cascade with another method than the
    /// model's reranker, a margin without reranking, or a confidence that a model without calibration cannot have.
    pub fn check(&self, config: &ModelConfig) -> Result<()> {
        if self.min_confidence.is_some() && config.calibration.is_none() {
            return Err(EngineError::Request(format!(
                "model {} is not calibrated, so its answers have no confidence: calibrate it with `r2former model calibrate`, \
                 and build the index with the new file",
                config.name
            )));
        }
        let method = self.method(config);
        method.check(config)?;
        method.cascade(config, self.cascade)?;
        if self.adaptive.is_some() && method == RerankMethod::None {
            return Err(EngineError::Request(
                "adaptive: says which queries are not reranked; this query is reranked by none".into(),
            ));
        }
        Ok(())
    }

    /// The method that is asked for, or the model's own.
    fn method(&self, config: &ModelConfig) -> RerankMethod {
        self.rerank.unwrap_or_else(|| RerankMethod::default_of(config))
    }
}

/// A place that the search found, and its place and score once it is reranked.
struct Candidate {
    hit: Hit,
    place: usize,
    score: Option<f32>,
}

/// Answers "where was this taken?" for one photograph: a path, the bytes of an image file, or pixels.
///
/// ```
/// use r2former_data::Rgb8;
/// use r2former_engine::{Extractor, LoadedModel, LocateOptions, PlaceIndex, Settings, Status, locate};
/// use r2former_model::parse_device;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let home = tempfile::tempdir()?;
/// # let dir = home.path().join("places");
/// let model = LoadedModel::built_in()?;
/// let settings = Settings::of(&model.config);
/// let index = PlaceIndex::open_or_create(&dir, &model, settings)?;
/// let extractor = Extractor::new(model, settings, &parse_device("cpu")?)?;
///
/// // A camera's frame, asked of an index that is still empty.
/// let frame = Rgb8 { width: 64, height: 48, pixels: vec![90; 64 * 48 * 3] };
/// let answer = locate(&index.reader()?, &extractor, &frame, &LocateOptions::default())?;
/// assert_eq!((answer.status, answer.estimate), (Status::NoMatch, None));
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`EngineError::Data`] for a query that cannot be read as an image, [`EngineError::Index`] for an index that
/// fails or options that it refuses, [`EngineError::Request`] for what [`LocateOptions::check`]
/// refuses, [`EngineError::Compute`] for a device that fails.
pub fn locate<'a>(
    index: &impl ReadPlaces,
    extractor: &Extractor,
    query: impl Into<QueryImage<'a>>,
    options: &LocateOptions,
) -> Result<Answer> {
    options.check(extractor.config())?;
    let calibration = extractor.config().calibration.as_ref();
    let method = options.method(extractor.config());
    let cascade = method.cascade(extractor.config(), options.cascade)?;
    let query = query.into();
    let mut timing = Timing::default();
    let mut clock = Instant::now();
    let mut lap = |stage: &mut f64| {
        *stage = Timing::ms(clock.elapsed());
        clock = Instant::now();
    };
    let DecodedQuery { pixels, mut notes } = extractor.decode(&query)?;
    let view = extractor.prepare(&pixels).map_err(|error| named(Path::new(query.name()), error))?;
    drop(pixels);
    lap(&mut timing.decode_ms);
    let features = extractor.extract_views(&[view])?.pop();
    let features = features.ok_or_else(|| EngineError::Compute("no descriptor came back".into()))?;
    let features = features.as_indexed(extractor.config());
    lap(&mut timing.extract_ms);

    let reranks = method != RerankMethod::None;
    let ranked = options.top.max(Estimate::CONSIDERED);
    // Confidence compares the best match with all candidates, reranked or not.
    let all = reranks || calibration.is_some();
    let wanted = if all { options.candidates.max(ranked) } else { ranked };
    let found = match options.approximate {
        false => index.search(&features.global, wanted, &options.filter)?,
        true => index.search_approximate(&features.global, wanted, &options.filter)?,
    };
    let mut candidates: Vec<Candidate> =
        found.into_iter().map(|hit| Candidate { hit, place: 0, score: None }).collect();
    lap(&mut timing.search_ms);

    let count = options.candidates.min(candidates.len());
    let head = &mut candidates[..count];
    let reranks = reranks && !head.is_empty();
    let mut ransac = None;
    let reranking_skipped = reranks && options.adaptive.is_some_and(|least| margin_of(head) >= least);
    if reranks && !reranking_skipped {
        let ids: Vec<_> = head.iter().map(|candidate| candidate.hit.id).collect();
        let local = index.locals(&ids)?;
        lap(&mut timing.fetch_ms);
        let rows: Vec<&[u8]> =
            local.iter().map(|found| found.as_ref().map_or(&[][..], |local| &local.rows)).collect();
        let ranking = rank_candidates(extractor, &features.local, &rows, method, cascade)?;
        if calibration.is_some() {
            ransac = ranking.best_by_ransac(extractor, &features.local, &rows)?;
        }
        for (place, i) in ranking.order.into_iter().enumerate() {
            (head[i].place, head[i].score) = (place, ranking.scores.get(place).copied());
        }
        // Places beyond the candidates stay behind.
        head.sort_by_key(|candidate| candidate.place);
        lap(&mut timing.rerank_ms);
    }
    let mut matches: Vec<Match> = (1..)
        .zip(candidates)
        .map(|(rank, candidate)| place_match(rank, candidate, method, options.filter.near))
        .collect();
    let scale = calibration.and_then(|own| own.position_scale);
    let estimate = Estimate::from_matches(&matches).map(|estimate| estimate.scaled(scale));
    let rerank = if reranking_skipped { RerankMethod::None } else { method };
    let evidence = Evidence::of(rerank, &matches[..count], ransac, calibration);
    let confidence = evidence.and_then(|evidence| evidence.confidence(calibration));
    matches.truncate(options.top);
    if let (Some(own), Some(calibration), None) = (confidence, calibration, options.min_confidence)
        && own < calibration.threshold
    {
        let words = if own < 0.5 { "is probably not" } else { "may not be" };
        notes.push(format!(
            "{words} in this index: the confidence in the best match is {own:.2}, below the model's threshold of {}",
            calibration.threshold
        ));
    }
    let doubted = options.min_confidence.is_some_and(|least| confidence.is_none_or(|own| own < least));
    Ok(Answer {
        query: query.name().to_owned(),
        status: match matches.is_empty() {
            true => Status::NoMatch,
            false if doubted => Status::NotInIndex,
            false => Status::Answered,
        },
        confidence,
        matches,
        prior: options.filter.near,
        estimate,
        rerank,
        reranking_skipped,
        notes,
        timing,
    })
}

/// By how much the first candidate's similarity exceeds that of the first one of another place.
fn margin_of(candidates: &[Candidate]) -> f32 {
    let similarities: Vec<f32> = candidates.iter().map(|candidate| candidate.hit.similarity).collect();
    let position = |i: usize| candidates[i].hit.place.position;
    top1_margin(&similarities, |i| {
        let ends = position(0).zip(position(i));
        let metres = ends.and_then(|(first, other)| first.distance_m(other));
        metres.is_some_and(|metres| metres <= Estimate::AGREEMENT_M)
    })
}

fn place_match(
    rank: usize,
    Candidate { hit, score, .. }: Candidate,
    method: RerankMethod,
    near: Option<Near>,
) -> Match {
    let position = hit.place.position;
    Match {
        rank,
        id: hit.id.to_string(),
        path: hit.place.name,
        tags: hit.place.tags,
        position,
        heading: hit.place.heading,
        time: hit.place.time,
        distance_m: near.zip(position).and_then(|(near, position)| near.center.distance_m(position)),
        similarity: hit.similarity,
        score,
        score_kind: score.and_then(|_| ScoreKind::of(method)),
    }
}
