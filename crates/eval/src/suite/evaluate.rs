//! Runs a suite: every model on every dataset, by the machinery of ablations.

use super::baseline::Baseline;
use super::config::SuiteConfig;
use super::results::{ModelResults, PartResults, RankingResults, SetResults, SkippedDataset, Suite, overall};
use crate::ablate::{
    DatasetEntry, Evaluated, Hits, RANKS, Row, Subject, dataset_of, evaluate_on, plan_rankings, recall,
    subject,
};
use crate::{EvalError, FeatureStorage, Result};
use r2former_data::DataError;
use r2former_data::dataset::Dataset;
use r2former_engine::{PrecisionChoice, Progress, RerankMethod};
use r2former_model::Device;

/// How a suite is run.
#[derive(Debug, Clone, Default)]
pub struct SuiteOptions {
    /// Where extracted features are stored during the run.
    pub storage: FeatureStorage,
    /// Skip datasets whose files are absent, rather than fail; each is noted and listed in [`Suite::skipped`].
    pub skip_missing: bool,
    /// Arithmetic in which all models describe photographs.
    pub precision: PrecisionChoice,
}

/// Runs a suite. Models and datasets are all opened before the first is evaluated. Unreadable images do not stop it; they
/// are listed in [`PartResults::unusable`].
///
/// # Errors
/// - [`EvalError::Request`]: a configuration that makes no sense, or that a model or dataset does not support.
/// - [`EvalError::Dataset`]: a dataset that cannot be read, or whose files are absent.
/// - [`EvalError::Engine`]: a model that cannot be read, a failing device.
/// - [`EvalError::File`]: the baseline's file or a feature file cannot be read or written.
pub fn suite(
    config: &SuiteConfig,
    device: &Device,
    options: &SuiteOptions,
    progress: &dyn Progress,
) -> Result<Suite> {
    config.check().map_err(EvalError::Request)?;
    let entry = config.baseline.as_ref();
    let file = entry.and_then(|entry| entry.file.as_ref().map(|file| (file, entry.model.as_deref())));
    let mut baseline = file.map(|(file, model)| Baseline::read(file, model)).transpose()?;
    let mut subjects =
        config.model.iter().map(|model| subject(&model.entry())).collect::<Result<Vec<Subject>>>()?;
    for subject in &mut subjects {
        subject.settings = subject.settings.with_precision(options.precision, &subject.loaded.config, device);
        subject.settings.check_device(device)?;
    }
    unique("model", subjects.iter().map(|s| s.name.as_str()))?;
    let own = entry.filter(|entry| entry.file.is_none()).and_then(|entry| entry.model.as_ref());
    if let Some(name) = own.filter(|name| subjects.iter().all(|s| s.name != **name)) {
        let names: Vec<&str> = subjects.iter().map(|s| s.name.as_str()).collect();
        let names = names.join(", ");
        return Err(EvalError::Request(format!("baseline.model: there is no model {name}, only {names}")));
    }
    let mut planned = Vec::new();
    for (i, (subject, model)) in subjects.iter().zip(&config.model).enumerate() {
        let methods = methods(subject, model.rerank.as_deref())?;
        planned.extend(plan_rankings(i, (&subject.loaded, &subject.settings), &methods)?);
    }
    let (datasets, skipped) = read_all(&config.dataset, options.skip_missing, progress)?;

    let ablation = config.ablation();
    let mut parts = Vec::new();
    for (entry, name, dataset) in datasets {
        let storage = &options.storage;
        let found = evaluate_on(&ablation, &dataset, &subjects, &planned, device, storage, progress)?;
        let left_out = dataset.left_out;
        parts.push(Part { set: entry.pooled.clone().unwrap_or(name.clone()), name, left_out, found });
    }
    let mut sets = sets_of(parts);
    if baseline.is_none() {
        baseline = entry.and_then(|entry| Baseline::own(entry, &sets));
    }
    let notes = baseline.as_ref().map(|baseline| baseline.compare(&mut sets)).unwrap_or_default();
    let models = subjects.iter().map(|s| ModelResults {
        name: s.name.clone(),
        fingerprint: s.loaded.fingerprint.clone(),
        image_size: s.settings.image_size(),
        precision: s.settings.precision,
    });
    Ok(Suite {
        config: config.clone(),
        models: models.collect(),
        overall: overall(&sets),
        sets,
        baseline: baseline.map(|baseline| baseline.origin),
        skipped,
        notes,
    })
}

/// The global ranking, and the reranking methods asked for or else those that the model can.
fn methods(subject: &Subject, asked: Option<&[RerankMethod]>) -> Result<Vec<RerankMethod>> {
    let config = &subject.loaded.config;
    let wanted = |method: RerankMethod, can: bool, default: bool| match asked {
        Some(asked) if !asked.contains(&method) => Ok(None),
        Some(_) if !can => {
            let lacks = if method == RerankMethod::Model { "reranker" } else { "local features" };
            Err(EvalError::Request(format!("model.rerank: model {} has no {lacks}", subject.name)))
        }
        Some(_) => Ok(Some(method)),
        None => Ok(default.then_some(method)),
    };
    let local = config.local.is_some();
    let ransac = wanted(RerankMethod::Ransac, local, local)?;
    let mutual = wanted(RerankMethod::Mutual, local, false)?;
    let model = wanted(RerankMethod::Model, config.reranker.is_some(), config.trained.reranker)?;
    Ok([Some(RerankMethod::None), ransac, mutual, model].into_iter().flatten().collect())
}

fn unique<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    let mut names = names;
    match names.find(|name| !seen.insert(*name)) {
        Some(name) => {
            Err(EvalError::Request(format!("{what}.name: two are called {name}; name one of them")))
        }
        None => Ok(()),
    }
}

/// A dataset with its entry and its name.
type Named<'a> = (&'a DatasetEntry, String, Dataset);

/// Reads all datasets, so that one that cannot be read does not end a long run.
fn read_all<'a>(
    entries: &'a [DatasetEntry],
    skip_missing: bool,
    progress: &dyn Progress,
) -> Result<(Vec<Named<'a>>, Vec<SkippedDataset>)> {
    let mut datasets: Vec<Named<'a>> = Vec::new();
    let mut skipped = Vec::new();
    for entry in entries {
        let paths = entry.spec.paths();
        let label = || match (&entry.name, paths.last()) {
            (Some(name), _) => name.clone(),
            (None, Some(path)) => path.display().to_string(),
            (None, None) => String::new(),
        };
        match existing(entry).and_then(|()| dataset_of(entry)) {
            Ok(dataset) => {
                let name = entry.name.clone().unwrap_or_else(|| dataset.name.clone());
                datasets.push((entry, name, dataset));
            }
            Err(DataError::Io { path, source })
                if skip_missing && source.kind() == std::io::ErrorKind::NotFound =>
            {
                let reason = format!("{}: {source}", path.display());
                progress.note(&format!("SKIPPED dataset {}: {reason}", label()));
                skipped.push(SkippedDataset { name: label(), reason });
            }
            Err(source) => return Err(EvalError::Dataset { name: label(), source }),
        }
    }
    if datasets.is_empty() {
        return Err(EvalError::Request("every dataset is missing; there is nothing to evaluate".into()));
    }
    unique("dataset", datasets.iter().map(|(_, name, _)| name.as_str()))?;
    let pools: std::collections::HashSet<&str> =
        datasets.iter().filter_map(|(entry, ..)| entry.pooled.as_deref()).collect();
    let single = datasets.iter().filter(|(entry, ..)| entry.pooled.is_none());
    unique("dataset", single.map(|(_, name, _)| name.as_str()).chain(pools))?;
    Ok((datasets, skipped))
}

/// Checks that the files and folders of a dataset exist.
fn existing(entry: &DatasetEntry) -> Result<(), DataError> {
    for path in entry.spec.paths() {
        std::fs::metadata(&path).map_err(|error| DataError::io(&path, error))?;
    }
    Ok(())
}

/// An evaluated dataset.
struct Part {
    /// The set that it belongs to.
    set: String,
    name: String,
    left_out: usize,
    found: Evaluated,
}

/// Puts the parts of each set together, in the order of the configuration.
fn sets_of(parts: Vec<Part>) -> Vec<SetResults> {
    let mut sets: Vec<(String, Vec<Part>)> = Vec::new();
    for part in parts {
        match sets.iter_mut().find(|(name, _)| *name == part.set) {
            Some((_, members)) => members.push(part),
            None => sets.push((part.set.clone(), vec![part])),
        }
    }
    sets.into_iter().map(|(name, parts)| set_of(name, parts)).collect()
}

fn set_of(name: String, parts: Vec<Part>) -> SetResults {
    let is_pool = parts.iter().any(|part| part.name != name);
    let query = |part: &Part, query: &String| match is_pool {
        true => format!("{}: {query}", part.name),
        false => query.clone(),
    };
    let queries = parts.iter().flat_map(|part| part.found.queries.iter().map(|q| query(part, q))).collect();
    let count = parts.iter().map(|part| part.found.rows.len()).min().unwrap_or(0);
    let rankings = (0..count).map(|i| {
        let rows: Vec<&Row> = parts.iter().map(|part| &part.found.rows[i]).collect();
        ranking(&rows)
    });
    let rankings = rankings.collect();
    let parts = parts.into_iter().map(|part| PartResults {
        name: part.name,
        protocol: part.found.protocol,
        left_out: part.left_out,
        unusable: part.found.unusable,
    });
    SetResults { name, parts: parts.collect(), queries, rankings }
}

/// One ranking, over the queries of all parts.
fn ranking(rows: &[&Row]) -> RankingResults {
    let hits: Hits =
        std::array::from_fn(|i| rows.iter().flat_map(|row| row.hits[i].iter().copied()).collect());
    let correct_at = (0..hits[0].len()).map(|q| {
        let first = RANKS.iter().zip(&hits).find(|(_, hits)| hits[q]);
        first.map(|(n, _)| *n)
    });
    RankingResults {
        model: rows[0].row.model.clone(),
        rerank: rows[0].row.setting.rerank,
        recall: recall(&hits),
        correct_at: correct_at.collect(),
        difference: None,
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
