//! Evaluates the settings of an ablation; settings that can share extracted features do.

use super::config::{AblationConfig, DatasetEntry, ModelEntry, Selection};
use super::plan::{Planned, Setting, plan};
use super::pooled::{pooled, recall};
use super::results::{Ablation, AblationRow, DatasetResults, Hits, RANKS};
use crate::extracted::Extracted;
use crate::features::UnusableImage;
use crate::layout::Layout;
use crate::metrics::paired_test;
use crate::rules::RuledDataset;
use crate::run::{rank_extracted, score_rankings};
use crate::view::Choice;
use crate::{
    EvalError, EvalOptions, Evaluation, FeatureStorage, Grouping, Protocol, QueryResult, Result, Rules,
};
use r2former_data::dataset::Dataset;
use r2former_engine::{Extractor, LoadedModel, Progress, RerankMethod, Settings};
use r2former_model::Device;

/// A model with its settings.
pub(crate) struct Subject {
    /// Its name in tables.
    pub(crate) name: String,
    pub(crate) loaded: LoadedModel,
    pub(crate) settings: Settings,
}

/// Runs an ablation. Unreadable images do not stop it; they are listed in [`DatasetResults::unusable`].
///
/// # Errors
/// - [`EvalError::Request`]: a configuration that makes no sense, or that a model or dataset does not support.
/// - [`EvalError::Engine`]: a model or dataset that cannot be read, a failing device.
/// - [`EvalError::File`]: a feature file that cannot be read or written.
pub fn ablate(
    config: &AblationConfig,
    device: &Device,
    storage: &FeatureStorage,
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
        let dataset = dataset_of(entry)?;
        let evaluated = evaluate_on(config, &dataset, &subjects, &planned, device, storage, progress)?;
        let (rows, hits) = against_baseline(entry.name.clone().unwrap_or(dataset.name), evaluated);
        parts.extend(entry.pooled.clone().map(|name| (name, datasets.len(), hits)));
        datasets.push(rows);
    }
    let pooled = pooled(&parts, &datasets);
    let models = subjects.iter().map(|s| (s.name.clone(), s.loaded.fingerprint.clone())).collect();
    Ok(Ablation { config: config.clone(), models, datasets, pooled, notes })
}

/// Opens a model.
///
/// # Errors
/// [`EvalError::Engine`]: it cannot be read, or not be used at the size of the entry.
pub(crate) fn subject(entry: &ModelEntry) -> Result<Subject> {
    let loaded = match &entry.path {
        Some(path) => LoadedModel::open(path)?,
        None => LoadedModel::built_in()?,
    };
    let mut settings = Settings::of(&loaded.config);
    if let Some(size) = entry.image_size {
        settings = settings.sized(size, &loaded.config);
    }
    loaded.config.check_image_size(settings.image_size()).map_err(r2former_engine::EngineError::from)?;
    let name = entry.name.clone().unwrap_or_else(|| loaded.config.name.clone());
    Ok(Subject { name, loaded, settings })
}

/// Reads a dataset, with as many queries as its entry asks for.
///
/// # Errors
/// As [`DatasetSpec::read`](r2former_data::dataset::DatasetSpec::read).
pub(crate) fn dataset_of(entry: &DatasetEntry) -> Result<Dataset, r2former_data::DataError> {
    let mut dataset = entry.spec.read()?;
    if let Some(most) = entry.max_queries {
        dataset.keep_queries(most);
    }
    Ok(dataset)
}

/// Planned rows, evaluated on one dataset.
pub(crate) struct Evaluated {
    /// Parallel to the planned rows.
    pub(crate) rows: Vec<Row>,
    /// The protocol; image size and precision are the first row's.
    pub(crate) protocol: Protocol,
    /// Names of the queries that count.
    pub(crate) queries: Vec<String>,
    /// Images that could not be used.
    pub(crate) unusable: Vec<UnusableImage>,
}

/// Evaluates the planned rows; features are extracted once for all that can share them.
///
/// # Errors
/// As [`ablate`].
pub(crate) fn evaluate_on(
    config: &AblationConfig,
    dataset: &Dataset,
    subjects: &[Subject],
    planned: &[Planned],
    device: &Device,
    storage: &FeatureStorage,
    progress: &dyn Progress,
) -> Result<Evaluated> {
    let rules = Rules {
        radius_m: config.radius_m,
        heading_limit_deg: config.heading_deg,
        empty_queries: config.empty_queries,
        grouping: if config.per_city { Grouping::PerCity } else { Grouping::Merged },
        ..Default::default()
    };
    let options = EvalOptions::new(rules).candidates(config.candidates).storage(storage.clone());
    let ruled = options.rules.apply(dataset)?;
    let mut evaluated: Vec<Option<Row>> = planned.iter().map(|_| None).collect();
    let mut unusable = Vec::new();
    for members in extractions(planned) {
        let subject = &subjects[planned[members[0]].model];
        let group = Group { dataset, ruled: &ruled, options: &options, seed: config.seed };
        let rows: Vec<&Planned> = members.iter().map(|i| &planned[*i]).collect();
        let settings = if rows.len() == 1 { "1 setting".into() } else { format!("{} settings", rows.len()) };
        progress.note(&format!("{}: {}, {settings}", dataset.name, subject.name));
        let found = group.evaluate(subject, &rows, device, &mut unusable, progress)?;
        for (i, row) in members.into_iter().zip(found) {
            evaluated[i] = Some(row);
        }
    }
    unusable.sort();
    unusable.dedup();
    // Every setting was evaluated.
    let rows: Vec<Row> = evaluated.into_iter().flatten().collect();
    let mut protocol = rows[0].protocol.clone();
    if let Some(input) = &mut protocol.input {
        input.candidates = config.candidates;
    }
    let queries = ruled.photos(dataset).into_iter().map(|photo| photo.name.clone()).collect();
    Ok(Evaluated { rows, protocol, queries, unusable })
}

/// The results of a dataset, with each row's difference from the first, the baseline.
fn against_baseline(name: String, evaluated: Evaluated) -> (DatasetResults, Vec<Hits>) {
    let Evaluated { mut rows, protocol, unusable, .. } = evaluated;
    let baseline = rows[0].hits[0].clone();
    for row in &mut rows[1..] {
        row.row.difference = Some(paired_test(&baseline, &row.hits[0]));
    }
    let (rows, hits) = rows.into_iter().map(|one| (one.row, one.hits)).unzip();
    (DatasetResults { name, protocol, rows, unusable }, hits)
}

/// Groups of rows that can share features, by their indices: those of one model whose local features come from the same
/// layer and positions.
fn extractions(planned: &[Planned]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (i, row) in planned.iter().enumerate() {
        let alike = |other: &Planned| {
            // A setting without local features fits any group.
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

/// An evaluated row, and which queries it gets right.
pub(crate) struct Row {
    pub(crate) row: AblationRow,
    pub(crate) hits: Hits,
    protocol: Protocol,
}

/// What all settings on a dataset share.
struct Group<'a> {
    dataset: &'a Dataset,
    ruled: &'a RuledDataset,
    options: &'a EvalOptions,
    seed: u64,
}

impl Group<'_> {
    /// Extracts once and evaluates all rows; images that could not be used go to `unusable`.
    fn evaluate(
        &self,
        subject: &Subject,
        rows: &[&Planned],
        device: &Device,
        unusable: &mut Vec<UnusableImage>,
        progress: &dyn Progress,
    ) -> Result<Vec<Row>> {
        let settings = || rows.iter().map(|row| &row.setting);
        // A random choice draws from all patches.
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
        let counted = self.ruled.counted.clone();
        let extracted = Extracted::of(self.dataset, counted, &extractor, layout, self.options, progress)?;

        let mut done: Vec<(Setting, Evaluation)> = Vec::new();
        let mut evaluated = Vec::new();
        for row in rows {
            // Adaptive reranking is applied afterwards: every query is reranked once.
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
                let evaluation = self.evaluate_one(&extracted, &setting, extractor, progress)?;
                done.push((setting.clone(), evaluation));
            }
            if let Some((_, evaluation)) = done.iter().find(|(other, _)| *other == setting) {
                evaluated.push(row_of(row, subject, evaluation, &layout));
            }
        }
        unusable.extend(extracted.unusable);
        Ok(evaluated)
    }

    fn evaluate_one(
        &self,
        extracted: &Extracted,
        setting: &Setting,
        extractor: &Extractor,
        progress: &dyn Progress,
    ) -> Result<Evaluation> {
        let methods = if setting.rerank == RerankMethod::None { Vec::new() } else { vec![setting.rerank] };
        let options = self.options.clone().rerank(methods);
        let choice = Choice {
            count: setting.local_features,
            random: (setting.selection == Selection::Random).then_some(self.seed),
            bits: setting.bits,
        };
        let ranked = rank_extracted(self.dataset, extracted, Some(choice), extractor, &options, progress)?;
        Ok(score_rankings(self.dataset, self.ruled, ranked, extractor, &options))
    }
}

fn row_of(planned: &Planned, subject: &Subject, evaluation: &Evaluation, layout: &Layout) -> Row {
    let setting = &planned.setting;
    // A query with a large top-1 margin keeps its global ranking, as if it had never been reranked.
    let skip =
        |margin: Option<f32>| setting.adaptive.is_some_and(|limit| margin.unwrap_or(f32::INFINITY) >= limit);
    let results: Vec<&QueryResult> = evaluation
        .queries
        .iter()
        .map(|query| match query.results.get(setting.rerank) {
            Some(result) if !skip(query.top1_margin) => result,
            _ => &query.results.global,
        })
        .collect();
    let hits = RANKS.map(|n| results.iter().map(|result| result.hit_at(n)).collect::<Vec<bool>>());
    let skipped = setting.adaptive.map(|_| {
        let skipped = evaluation.queries.iter().filter(|query| skip(query.top1_margin)).count();
        skipped as f64 / evaluation.queries.len().max(1) as f64
    });
    let cost = &evaluation.summary.cost;
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
        // All queries have the same number of candidates, so they cost the same.
        rerank_ms: cost.rerank_ms(setting.rerank).map(|ms| ms * (1.0 - skipped.unwrap_or(0.0))),
        bytes_per_image: layout.dim * size_of::<f32>() + local_bytes,
    };
    Row { row, hits, protocol: evaluation.summary.protocol.clone() }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
