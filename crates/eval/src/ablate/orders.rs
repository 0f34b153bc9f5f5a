//! The orders of an ablation, evaluated: features are extracted once for all orders that can share them.

use super::config::{AblationConfig, DatasetEntry, ModelEntry, Selection};
use super::plan::{Planned, Setting, plan};
use super::together::{Hits, RANKS, TogetherRows, recall, together};
use crate::extracted::Extracted;
use crate::features::{Keeping, Layout};
use crate::metrics::{Interval, PairedTest, paired_test};
use crate::rules::Judged;
use crate::run::{EvalOptions, count, rank_extracted};
use crate::view::Choice;
use crate::{EvalError, Evaluation, Grouping, Outcome, Protocol, QueriesAs, Result, Rules};
use r2former_data::dataset::Dataset;
use r2former_engine::{Extractor, LoadedModel, Progress, RerankMethod, Settings};
use r2former_model::Device;
use serde::Serialize;
use std::path::PathBuf;

/// An ablation's outcome.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ablation {
    /// What was asked.
    pub config: AblationConfig,
    /// Names and fingerprints of the models.
    pub models: Vec<(String, String)>,
    /// A table for each dataset.
    pub datasets: Vec<DatasetRows>,
    /// A table for each word of [`DatasetEntry::together`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub together: Vec<TogetherRows>,
    /// Rows that were left out, and why.
    pub notes: Vec<String>,
}

/// All orders on one dataset.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DatasetRows {
    /// What tables call it.
    pub name: String,
    /// What the numbers mean; image size and precision are the baseline's.
    pub protocol: Protocol,
    /// The baseline, then each change of it.
    pub rows: Vec<AblationRow>,
    /// Images that could not be used, with the reason.
    pub unusable: Vec<(PathBuf, String)>,
}

/// One order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AblationRow {
    /// The model's name.
    pub model: String,
    /// What differs from the baseline: the name of an axis, `model`, `combination`, or `baseline` itself.
    pub axis: String,
    /// To what it was set.
    pub value: String,
    /// The whole setting.
    pub setting: Setting,
    /// Recall@1, @5 and @10 with 95 % bootstrap intervals.
    pub recall: [(usize, Interval); 3],
    /// Recall@1 against the baseline's on the same queries; none for the baseline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<PairedTest>,
    /// Share of the queries whose global order stayed; none where all are reranked, or none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<f64>,
    /// Milliseconds of extraction an image, with the local features that the most demanding order needs; none where
    /// an earlier run had extracted all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extraction_ms: Option<f64>,
    /// Milliseconds of exact search a query.
    pub search_ms: f64,
    /// Milliseconds of reranking a query, those that were skipped included; none where nothing is reranked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank_ms: Option<f64>,
    /// Bytes that are stored of an image.
    pub bytes_per_image: usize,
}

impl AblationRow {
    /// Milliseconds of search and reranking, a query: what the settings change.
    pub fn order_ms(&self) -> f64 {
        self.search_ms + self.rerank_ms.unwrap_or(0.0)
    }
}

/// A model and what is told of it.
struct Subject {
    name: String,
    loaded: LoadedModel,
    settings: Settings,
}

/// Evaluates everything that a configuration names.
///
/// # Errors
/// A model or dataset that cannot be read, or evaluated as asked; a failing device. Single unreadable images are listed
/// instead.
pub fn ablate(
    config: &AblationConfig,
    device: &Device,
    keeping: &Keeping,
    progress: &dyn Progress,
) -> Result<Ablation> {
    config.check().map_err(EvalError::Request)?;
    let subjects = config.model.iter().map(subject).collect::<Result<Vec<_>>>()?;
    let models: Vec<(LoadedModel, Settings)> =
        subjects.iter().map(|s| (s.loaded.clone(), s.settings)).collect();
    let (planned, notes) = plan(config, &models)?;
    let mut datasets = Vec::new();
    let mut parts = Vec::new();
    for entry in &config.dataset {
        let (rows, hits) = on_dataset(config, entry, &subjects, &planned, device, keeping, progress)?;
        parts.extend(entry.together.clone().map(|word| (word, datasets.len(), hits)));
        datasets.push(rows);
    }
    let together = together(&parts, &datasets);
    let models = subjects.iter().map(|s| (s.name.clone(), s.loaded.fingerprint.clone())).collect();
    Ok(Ablation { config: config.clone(), models, datasets, together, notes })
}

fn subject(entry: &ModelEntry) -> Result<Subject> {
    let loaded = match &entry.path {
        Some(path) => LoadedModel::open(path)?,
        None => LoadedModel::built_in()?,
    };
    let mut settings = Settings::of(&loaded.config);
    if let Some([height, width]) = entry.image_size {
        (settings.height, settings.width) = (height, width);
    }
    loaded.config.check_size(settings.height, settings.width).map_err(r2former_engine::EngineError::from)?;
    let name = entry.name.clone().unwrap_or_else(|| loaded.config.name.clone());
    Ok(Subject { name, loaded, settings })
}

fn on_dataset(
    config: &AblationConfig,
    entry: &DatasetEntry,
    subjects: &[Subject],
    planned: &[Planned],
    device: &Device,
    keeping: &Keeping,
    progress: &dyn Progress,
) -> Result<(DatasetRows, Vec<Hits>)> {
    let mut dataset = entry.spec.read()?;
    if let Some(most) = entry.max_queries {
        dataset.keep_queries(most);
    }
    let options = EvalOptions {
        rules: Rules {
            radius_m: config.radius_m,
            heading_limit_deg: config.heading_deg,
            empty_queries: config.empty_queries,
            grouping: if config.per_city { Grouping::PerCity } else { Grouping::Merged },
            ..Default::default()
        },
        rerank: Vec::new(),
        candidates: config.candidates,
        adaptive: None,
        keeping: keeping.clone(),
        queries_as: QueriesAs::default(),
    };
    let judged = options.rules.judge(&dataset)?;
    let mut told: Vec<Option<Told>> = planned.iter().map(|_| None).collect();
    let mut unusable = Vec::new();
    for members in extractions(planned) {
        let subject = &subjects[planned[members[0]].model];
        let orders = Orders { dataset: &dataset, judged: &judged, options: &options, seed: config.seed };
        let rows: Vec<&Planned> = members.iter().map(|i| &planned[*i]).collect();
        let orders_are = if rows.len() == 1 { "1 order".into() } else { format!("{} orders", rows.len()) };
        progress.note(&format!("{}: {}, {orders_are}", dataset.name, subject.name));
        let found = orders.of(subject, &rows, device, &mut unusable, progress)?;
        for (i, row) in members.into_iter().zip(found) {
            told[i] = Some(row);
        }
    }
    unusable.sort();
    unusable.dedup();
    let mut told: Vec<Told> = told.into_iter().flatten().collect();
    // Every order was judged, so the baseline stands first.
    let baseline = told[0].hits[0].clone();
    for row in &mut told[1..] {
        row.row.difference = Some(paired_test(&baseline, &row.hits[0]));
    }
    let mut protocol = told[0].protocol.clone();
    if let Some(input) = &mut protocol.input {
        input.candidates = config.candidates;
    }
    let name = entry.name.clone().unwrap_or_else(|| dataset.name.clone());
    let (rows, hits) = told.into_iter().map(|told| (told.row, told.hits)).unzip();
    Ok((DatasetRows { name, protocol, rows, unusable }, hits))
}

/// The rows that can share features, by their numbers: those of one model whose local features come from the same
/// places.
fn extractions(planned: &[Planned]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (i, row) in planned.iter().enumerate() {
        let alike = |other: &Planned| {
            // An order without local features goes with any.
            let any = row.setting.local_features == 0 || other.setting.local_features == 0;
            let places = |row: &Planned| (row.setting.official_gather, row.setting.layer);
            other.model == row.model && (any || places(other) == places(row))
        };
        match groups.iter_mut().find(|members| members.iter().all(|m| alike(&planned[*m]))) {
            Some(members) => members.push(i),
            None => groups.push(vec![i]),
        }
    }
    groups
}

/// A row, and which queries it gets right.
struct Told {
    row: AblationRow,
    hits: Hits,
    protocol: Protocol,
}

/// What all orders on a dataset share.
struct Orders<'a> {
    dataset: &'a Dataset,
    judged: &'a Judged,
    options: &'a EvalOptions,
    seed: u64,
}

impl Orders<'_> {
    /// Extracts once and judges all rows; images that could not be used go to `unusable`.
    fn of(
        &self,
        subject: &Subject,
        rows: &[&Planned],
        device: &Device,
        unusable: &mut Vec<(PathBuf, String)>,
        progress: &dyn Progress,
    ) -> Result<Vec<Told>> {
        let settings = || rows.iter().map(|row| &row.setting);
        // Chance draws from all patches.
        let all = settings().any(|s| s.selection == Selection::Random);
        let most = settings().map(|s| s.local_features).max().unwrap_or(0);
        let places = settings().find(|s| s.local_features > 0).map(|s| (s.official_gather, s.layer));
        let (gather, layer) = places.unwrap_or_default();
        let bits = settings().map(|s| s.bits).max().unwrap_or_default();
        let stride = subject.loaded.config.stride();
        let patches = subject.settings.height / stride * (subject.settings.width / stride);
        let loaded = subject.loaded.with(|config, _| {
            if let Some(local) = &mut config.local {
                local.count = if all { patches } else { most.max(1) };
                local.official_gather = gather;
                local.layer = layer;
            }
        })?;
        let extractor = Extractor::new(loaded.clone(), subject.settings, device)?;
        let layout = Layout::of(&extractor, most > 0, bits);
        let counted = self.judged.counted.clone();
        let extracted = Extracted::of(self.dataset, counted, &extractor, layout, self.options, progress)?;

        let mut done: Vec<(Setting, Evaluation)> = Vec::new();
        let mut told = Vec::new();
        for row in rows {
            // Margins are looked at afterwards: every query is reranked once.
            let setting = Setting { adaptive: None, ..row.setting.clone() };
            if !done.iter().any(|(other, _)| *other == setting) {
                let changed = match &loaded.config.reranker {
                    Some(own) if setting.neighbours > 0 && setting.neighbours != own.neighbours => {
                        let changed = loaded.with(|config, _| {
                            if let Some(reranker) = &mut config.reranker {
                                reranker.neighbours = setting.neighbours;
                            }
                        })?;
                        Some(Extractor::new(changed, subject.settings, device)?)
                    }
                    _ => None,
                };
                let extractor = changed.as_ref().unwrap_or(&extractor);
                let evaluation = self.evaluate(&extracted, &setting, extractor, progress)?;
                done.push((setting.clone(), evaluation));
            }
            if let Some((_, evaluation)) = done.iter().find(|(other, _)| *other == setting) {
                told.push(tell(row, subject, evaluation, &layout));
            }
        }
        unusable.extend(extracted.unusable);
        Ok(told)
    }

    fn evaluate(
        &self,
        extracted: &Extracted,
        setting: &Setting,
        extractor: &Extractor,
        progress: &dyn Progress,
    ) -> Result<Evaluation> {
        let options = EvalOptions {
            rerank: if setting.rerank == RerankMethod::None { Vec::new() } else { vec![setting.rerank] },
            ..self.options.clone()
        };
        let choice = Choice {
            count: setting.local_features,
            random: (setting.selection == Selection::Random).then_some(self.seed),
            bits: setting.bits,
        };
        let ranked = rank_extracted(self.dataset, extracted, Some(choice), extractor, &options, progress)?;
        Ok(count(self.dataset, self.judged, ranked, extractor, &options))
    }
}

fn tell(planned: &Planned, subject: &Subject, evaluation: &Evaluation, layout: &Layout) -> Told {
    let setting = &planned.setting;
    // A query whose order is clear keeps it, as if it had never been reranked.
    let clear =
        |margin: Option<f32>| setting.adaptive.is_some_and(|least| margin.unwrap_or(f32::INFINITY) >= least);
    let outcomes: Vec<&Outcome> = evaluation
        .queries
        .iter()
        .map(|query| match query.outcome.get(setting.rerank) {
            Some(outcome) if !clear(query.margin) => outcome,
            _ => &query.outcome.global,
        })
        .collect();
    let hits = RANKS.map(|n| outcomes.iter().map(|o| o.right_at(n)).collect::<Vec<bool>>());
    let skipped = setting.adaptive.map(|_| {
        let skipped = evaluation.queries.iter().filter(|query| clear(query.margin)).count();
        skipped as f64 / evaluation.queries.len().max(1) as f64
    });
    let cost = &evaluation.report.cost;
    let local_bytes = setting.local_features * layout.row * setting.bits.bytes();
    let row = AblationRow {
        model: subject.name.clone(),
        axis: planned.axis.to_string(),
        value: planned.value.clone(),
        setting: setting.clone(),
        recall: recall(&hits),
        difference: None,
        skipped,
        extraction_ms: cost.extraction_ms(),
        search_ms: cost.search_ms_per_query,
        // Queries cost alike: all have the same number of candidates.
        rerank_ms: cost.rerank_ms(setting.rerank).map(|ms| ms * (1.0 - skipped.unwrap_or(0.0))),
        bytes_per_image: layout.dim * size_of::<f32>() + local_bytes,
    };
    Told { row, hits, protocol: evaluation.report.protocol.clone() }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
