//! Fits a model's calibration on datasets: queries whose place is in the database, the same with their positives held out,
//! queries of the other datasets, and pictures of nothing.

use super::fit::{Example, fit};
use super::judge::{Asked, JudgedAnswer, place_of};
use super::nothing;
use crate::extracted::Extracted;
use crate::features::Side;
use crate::layout::Layout;
use crate::metrics::{Selective, selective};
use crate::ranking::Ranking;
use crate::rules::RuledDataset;
use crate::run::rank_extracted;
use crate::units::Units;
use crate::view::View;
use crate::{EvalError, EvalOptions, FeatureStorage, Grouping, PerRanking, Result, Rules};
use r2former_data::Photo;
use r2former_data::dataset::Dataset;
use r2former_engine::{Extractor, Progress, RerankMethod};
use r2former_model::{Bits, Calibration, CalibrationSet, Clue, ConfidenceFit, TypicalCandidate};
use serde::Serialize;

/// Queries of other datasets that each database is asked, at most.
const FOREIGN: usize = 60;
/// Pictures of nothing that each database is asked.
const NOTHINGS: usize = 40;
/// Thresholds that are tried: from a half on, in steps of a hundredth.
const THRESHOLDS: std::ops::RangeInclusive<u32> = 50..=99;

/// How a calibration is fitted.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CalibrateOptions {
    /// An answer is correct within this many metres, where a dataset does not list what is.
    pub radius_m: f64,
    /// Candidates that are reranked.
    pub candidates: usize,
    /// Of the answers accepted at the calibration's threshold, this share should be correct.
    pub precision: f64,
    /// Where extracted features are stored.
    pub storage: FeatureStorage,
}

impl Default for CalibrateOptions {
    /// 25 m, 100 candidates, 97 %, features in memory.
    fn default() -> Self {
        Self { radius_m: 25.0, candidates: 100, precision: 0.97, storage: FeatureStorage::default() }
    }
}

impl CalibrateOptions {
    /// How a dataset is ranked by some methods.
    pub(super) fn eval(&self, methods: Vec<RerankMethod>) -> EvalOptions {
        let rules = Rules { radius_m: self.radius_m, ..Rules::default() };
        EvalOptions::new(rules).rerank(methods).candidates(self.candidates).storage(self.storage.clone())
    }
}

/// What the rules make of a dataset, and its features with local ones in 8 bits, as an index has them.
pub(super) fn extract(
    extractor: &Extractor,
    (name, dataset): (&str, &Dataset),
    eval: &EvalOptions,
    progress: &dyn Progress,
) -> Result<(RuledDataset, Extracted)> {
    progress.note(&format!("{name}: {} queries", dataset.queries.len()));
    let ruled = eval.rules.apply(dataset)?;
    let layout = Layout::of(extractor, true, Bits::Eight);
    let extracted = Extracted::of(dataset, ruled.counted.clone(), extractor, layout, eval, progress)?;
    Ok((ruled, extracted))
}

/// A calibration, and how it does where it was not fitted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibrated {
    /// Fitted on all datasets.
    pub calibration: Calibration,
    /// Each dataset under a calibration that was fitted on the others; empty for a single dataset.
    pub left_out: Vec<LeftOutSet>,
}

/// One dataset under a calibration that was fitted on the others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeftOutSet {
    /// Its name.
    pub dataset: String,
    /// What the ranking is by.
    pub ranking: RerankMethod,
    /// Whether its positions were used.
    pub positions: bool,
    /// Over its own queries, with their positives and without.
    #[serde(flatten)]
    pub quality: Selective,
}

/// What a dataset gives.
struct Judged {
    name: String,
    database: usize,
    /// Its queries.
    known: PerRanking<Vec<JudgedAnswer>>,
    /// The same without their positives.
    held_out: PerRanking<Vec<JudgedAnswer>>,
    /// Queries of other datasets, and pictures of nothing.
    foreign: PerRanking<Vec<JudgedAnswer>>,
}

/// Fits the calibration of a model on datasets, each of which counts the same.
///
/// # Errors
/// - [`EvalError::Request`]: no dataset, one without ground truth, or one whose queries are all right or all wrong.
/// - [`EvalError::File`], [`EvalError::Engine`]: as [`crate::evaluate`].
pub fn calibrate(
    extractor: &Extractor,
    datasets: &[(String, Dataset)],
    options: &CalibrateOptions,
    progress: &dyn Progress,
) -> Result<Calibrated> {
    if datasets.is_empty() {
        return Err(EvalError::Request("a calibration needs at least one dataset".into()));
    }
    let methods = methods(extractor);
    let eval = options.eval(methods.clone());
    let mut all = Vec::new();
    for (name, dataset) in datasets {
        let (ruled, extracted) = extract(extractor, (name, dataset), &eval, progress)?;
        all.push((name, dataset, ruled, extracted));
    }
    let nothings = nothings(extractor)?;
    let mut judged = Vec::new();
    for (i, (name, dataset, ruled, extracted)) in all.iter().enumerate() {
        let others = all.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, other)| &other.3);
        let strangers = strangers(extractor, &others.collect::<Vec<_>>(), &nothings)?;
        let own = (name.as_str(), *dataset, ruled, extracted);
        judged.push(judge(extractor, own, &strangers, &methods, &eval, progress)?);
    }
    let whole: Vec<&Judged> = judged.iter().collect();
    let fits = fits(&whole, &methods);
    let left_out = left_out(&judged, &methods);
    let unit = |set: &Judged| CalibrationSet {
        dataset: set.name.clone(),
        database: set.database,
        queries: set.known.global.len(),
        unknown: set.held_out.global.len() + set.foreign.global.len(),
    };
    let default = RerankMethod::default_of(extractor.config());
    let calibration = Calibration {
        radius_m: options.radius_m,
        threshold: threshold(&judged, default, options.precision),
        fits,
        position_scale: position_scale(&judged, default),
        fitted_on: judged.iter().map(unit).collect(),
    };
    Ok(Calibrated { calibration, left_out })
}

/// The rankings that a model can give.
fn methods(extractor: &Extractor) -> Vec<RerankMethod> {
    let config = extractor.config();
    let local = config.local.is_some();
    let can = [
        (RerankMethod::None, true),
        (RerankMethod::Ransac, local),
        (RerankMethod::Mutual, local),
        (RerankMethod::Model, config.trained.reranker),
    ];
    can.into_iter().filter_map(|(method, can)| can.then_some(method)).collect()
}

/// Descriptors and local features of images that belong to no database.
struct Features(Vec<(Vec<f32>, Vec<u8>)>);

fn nothings(extractor: &Extractor) -> Result<Features> {
    let row = extractor.config().local_row();
    let one = |number| -> Result<_> {
        let input = extractor.prepare(&nothing::picture(number))?;
        let features = extractor.extract_views(&[input])?.pop().unwrap_or_default();
        let local = if row > 0 { Bits::Eight.pack(&features.local, row) } else { Vec::new() };
        Ok((features.global, local))
    };
    Ok(Features((0..NOTHINGS).map(one).collect::<Result<_>>()?))
}

/// Queries that no database of one dataset can answer: some of the others', and pictures of nothing.
fn strangers(extractor: &Extractor, others: &[&Extracted], nothings: &Features) -> Result<Units> {
    let layout = Layout::of(extractor, true, Bits::Eight);
    let mut all: Vec<(Vec<f32>, Vec<u8>)> = Vec::new();
    for other in others {
        let count = other.chosen.len();
        let wanted = (FOREIGN / others.len().max(1)).clamp(1, count);
        for i in 0..wanted {
            let query = i * count / wanted;
            let global = other.queries.global[query * layout.dim..][..layout.dim].to_vec();
            let members = other.queries.members(query);
            let local = match members.first() {
                Some(image) if layout.count > 0 => other.queries.images.local(*image)?.into_owned(),
                _ => Vec::new(),
            };
            all.push((global, local));
        }
    }
    all.extend(nothings.0.iter().cloned());
    let storage = FeatureStorage::default();
    let mut side = Side::new(all.len(), layout, None, &storage, &std::env::temp_dir())?;
    for (i, (global, local)) in all.into_iter().enumerate() {
        side.put(i, &global, local)?;
    }
    side.flush()?;
    Ok(Units::of_images(side))
}

fn judge(
    extractor: &Extractor,
    (name, dataset, ruled, extracted): (&str, &Dataset, &RuledDataset, &Extracted),
    strangers: &Units,
    methods: &[RerankMethod],
    options: &EvalOptions,
    progress: &dyn Progress,
) -> Result<Judged> {
    let (photos, positives) = (ruled.photos(dataset), ruled.positives());
    let asked = Asked::own(extractor, extracted, &dataset.database, options.reranked());
    let ranked = rank_extracted(dataset, extracted, None, extractor, options, progress)?;
    let nobody = Photo::new("", "");
    let collect = |asked: &Asked<'_>, rankings: &PerRanking<Vec<Ranking>>, unknown: bool| -> Result<_> {
        let mut all: PerRanking<Vec<JudgedAnswer>> = rankings.map(|_, _| Vec::new());
        for q in 0..rankings.global.len() {
            let own = if unknown { &[][..] } else { positives[q] };
            let photo = if unknown { &nobody } else { photos[q] };
            all.extend_each(asked.judge((q, q), photo, rankings, own, unknown)?);
        }
        Ok(all)
    };
    let known = collect(&asked, &ranked.rankings, false)?;
    let place = |q: usize| place_of(photos[q], positives[q], &dataset.database, options.rules.radius_m);
    let hidden: Vec<Option<Vec<u32>>> = (0..photos.len()).map(|q| Some(place(q))).collect();
    let without = asked.rank_without(&photos, &hidden, methods, Grouping::Merged, progress)?;
    let held_out = collect(&asked, &without, true)?;
    let asked = Asked { queries: View { units: strangers, choice: None }, ..asked };
    let count = strangers.global.len() / extractor.config().global_dim();
    let ranked = asked.rank_without(
        &vec![&nobody; count],
        &vec![Some(Vec::new()); count],
        methods,
        Grouping::Merged,
        progress,
    )?;
    let foreign = collect(&asked, &ranked, true)?;
    Ok(Judged { name: name.to_owned(), database: dataset.database.len(), known, held_out, foreign })
}

/// The clues that a ranking has.
fn clues(method: RerankMethod, positions: bool) -> Vec<Clue> {
    let mut all = vec![Clue::Similarity, Clue::SimilarityContrast];
    match method {
        RerankMethod::None => {}
        RerankMethod::Ransac => all.extend([Clue::Score, Clue::ScoreContrast]),
        RerankMethod::Mutual | RerankMethod::Model => {
            all.extend([Clue::Score, Clue::ScoreContrast, Clue::Inliers]);
        }
    }
    if positions {
        all.extend([Clue::Margin, Clue::Agreement, Clue::Compactness]);
    }
    all
}

/// The answers of a ranking that can be asked for with positions, or all of them without.
fn of(answers: &PerRanking<Vec<JudgedAnswer>>, method: RerankMethod, positions: bool) -> Vec<&JudgedAnswer> {
    let all = answers.get(method).into_iter().flatten();
    all.filter(|answer| answer.evidence.positions || !positions).collect()
}

fn fit_one(sets: &[&Judged], method: RerankMethod, positions: bool) -> Option<ConfidenceFit> {
    let mut examples = Vec::new();
    for set in sets {
        let answers: Vec<&JudgedAnswer> = [&set.known, &set.held_out, &set.foreign]
            .iter()
            .flat_map(|part| of(part, method, positions))
            .collect();
        // Every dataset counts the same.
        let weight = 1000.0 / answers.len() as f64;
        examples.extend(answers.into_iter().map(|answer| Example {
            clues: answer.clues.clone(),
            correct: answer.correct,
            weight,
        }));
    }
    let correct = examples.iter().filter(|example| example.correct).count();
    if correct == 0 || correct == examples.len() {
        return None;
    }
    let (bias, weights) = fit(&examples, &clues(method, positions));
    let typical = mean_median(&examples, [Clue::Similarity, Clue::SimilarityContrast]).map(|similarity| {
        let score = mean_median(&examples, [Clue::Score, Clue::ScoreContrast]);
        TypicalCandidate { similarity, score }
    });
    Some(ConfidenceFit { ranking: method.name().into(), positions, bias, weights, typical })
}

/// The weighted mean of the medians that a contrast is measured from.
fn mean_median(examples: &[Example], [own, contrast]: [Clue; 2]) -> Option<f64> {
    let medians = examples.iter().filter_map(|example| {
        Some((example.clues.get(&own)? - example.clues.get(&contrast)?, example.weight))
    });
    let (sum, total) = medians.fold((0.0, 0.0), |sums, (v, w)| (sums.0 + w * v, sums.1 + w));
    (total > 0.0).then(|| sum / total)
}

fn fits(sets: &[&Judged], methods: &[RerankMethod]) -> Vec<ConfidenceFit> {
    let both = methods.iter().flat_map(|method| [(*method, true), (*method, false)]);
    both.filter_map(|(method, positions)| fit_one(sets, method, positions)).collect()
}

/// Confidences of a dataset's own queries by a fit on the others.
fn by_others(sets: &[Judged], own: usize, method: RerankMethod, positions: bool) -> Option<Vec<(f64, bool)>> {
    let others: Vec<&Judged> =
        sets.iter().enumerate().filter(|(i, _)| *i != own).map(|(_, set)| set).collect();
    let fit = fit_one(&others, method, positions)?;
    let parts = [&sets[own].known, &sets[own].held_out];
    let answers = parts.iter().flat_map(|part| of(part, method, positions));
    let all: Vec<(f64, bool)> = answers.map(|a| (fit.probability(&a.clues), a.correct)).collect();
    (!all.is_empty()).then_some(all)
}

fn left_out(sets: &[Judged], methods: &[RerankMethod]) -> Vec<LeftOutSet> {
    let mut all = Vec::new();
    for (own, set) in sets.iter().enumerate() {
        for (method, positions) in methods.iter().flat_map(|method| [(*method, true), (*method, false)]) {
            if let Some(answers) = by_others(sets, own, method, positions) {
                let quality = selective(&answers, 0.5);
                all.push(LeftOutSet { dataset: set.name.clone(), ranking: method, positions, quality });
            }
        }
    }
    all
}

/// By how much the spread of the matches has to be multiplied so that, on each dataset, the region holds the true positions of
/// 90 % of the correct answers: how far a query stands from its references differs between datasets by more than anything in its
/// matches shows, and a mean of them would be too small for one half. `None` without positions.
fn position_scale(sets: &[Judged], method: RerankMethod) -> Option<f64> {
    let deviations = |set: &Judged| {
        let correct = of(&set.known, method, true).into_iter().filter(|answer| answer.correct);
        correct.filter_map(|answer| answer.estimate.as_ref()?.deviations(answer.truth.0?)).collect()
    };
    covering(sets.iter().map(deviations).collect())
}

/// The least number below which nine tenths of each set lie. Sets of fewer than [`FEWEST_POSITIONS`] say too little to decide for
/// others; where there are no larger ones, all count as one.
fn covering(mut sets: Vec<Vec<f64>>) -> Option<f64> {
    match sets.iter().any(|set| set.len() >= FEWEST_POSITIONS) {
        true => sets.retain(|set| set.len() >= FEWEST_POSITIONS),
        false => sets = vec![sets.concat()],
    }
    let nine_tenths = |mut set: Vec<f64>| {
        set.sort_by(f64::total_cmp);
        let last = (0.9 * set.len() as f64).ceil() as usize;
        set.get(last.checked_sub(1)?).copied()
    };
    sets.into_iter().filter_map(nine_tenths).max_by(f64::total_cmp).map(|scale| scale.max(1e-3))
}

/// Correct answers that a dataset needs to decide how large regions are.
const FEWEST_POSITIONS: usize = 20;

/// The smallest threshold at which accepted answers are as precise as wanted, on each dataset by a fit on the others where
/// there are others; all datasets count the same. The largest one where none suffices.
fn threshold(sets: &[Judged], method: RerankMethod, precision: f64) -> f64 {
    let mut all: Vec<Vec<(f64, bool)>> = Vec::new();
    for positions in [true, false] {
        for (own, set) in sets.iter().enumerate() {
            let by_others = by_others(sets, own, method, positions);
            all.extend(by_others.or_else(|| {
                let fit = fit_one(&[set], method, positions)?;
                let answers =
                    [&set.known, &set.held_out].into_iter().flat_map(|part| of(part, method, positions));
                Some(answers.map(|a| (fit.probability(&a.clues), a.correct)).collect())
            }));
        }
    }
    let enough = |threshold: f64| {
        let found = all.iter().map(|answers| selective(answers, threshold));
        let parts: Vec<(f64, f64)> =
            found.filter_map(|found| Some((found.coverage * found.precision?, found.coverage))).collect();
        let sums = parts.iter().fold((0.0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
        sums.0 >= precision * sums.1
    };
    let mut tried = THRESHOLDS.map(|hundredths| f64::from(hundredths) / 100.0);
    tried.find(|threshold| enough(*threshold)).unwrap_or(f64::from(*THRESHOLDS.end()) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_covers_nine_tenths_of_every_set_that_is_large_enough() {
        let near: Vec<f64> = (1..=100).map(|i| f64::from(i) / 100.0).collect();
        let far: Vec<f64> = (1..=20).rev().map(f64::from).collect();
        assert_eq!(covering(vec![near.clone(), far.clone()]), Some(18.0));
        assert_eq!(covering(vec![near.clone()]), Some(0.9));
        // A handful of answers does not decide beside a hundred, but is better than nothing.
        let few = vec![50.0, 60.0, 70.0];
        assert_eq!(covering(vec![few.clone(), near]), Some(0.9));
        assert_eq!(covering(vec![few, vec![1.0]]), Some(70.0));
        assert_eq!(covering(vec![vec![0.0; 30]]), Some(1e-3));
        assert_eq!(covering(vec![Vec::new(), Vec::new()]), None);
    }
}
