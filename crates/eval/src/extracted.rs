//! What an evaluation knows before anything is put in order: which queries count, and everybody's features.

use crate::features::{Layout, Side};
use crate::run::{EvalOptions, ground_truth};
use crate::view::{Choice, View};
use crate::{EmptyQueries, EvalError, Result};
use r2former_data::Photo;
use r2former_data::dataset::Dataset;
use r2former_engine::{Extractor, Progress};
use std::path::PathBuf;
use std::time::Instant;

/// The queries that count under a protocol.
pub(crate) struct Counted {
    /// Their numbers in the dataset.
    pub(crate) queries: Vec<usize>,
    /// The positives of each.
    pub(crate) positives: Vec<Vec<u32>>,
    /// Queries of the dataset without a positive, counted or not.
    pub(crate) empty: usize,
}

impl Counted {
    /// # Errors
    /// An empty dataset, photographs without the positions that the protocol needs, no query that counts.
    pub(crate) fn of(dataset: &Dataset, options: &EvalOptions) -> Result<Self> {
        let mut truth = ground_truth(dataset, options)?.positives;
        let empty = truth.iter().filter(|p| p.is_empty()).count();
        let queries: Vec<usize> = (0..dataset.queries.len())
            .filter(|q| options.empty_queries == EmptyQueries::Fail || !truth[*q].is_empty())
            .collect();
        if queries.is_empty() {
            return Err(EvalError::Request(format!(
                "none of the {} queries has a positive under this protocol; check positions and --radius",
                dataset.queries.len()
            )));
        }
        let positives = queries.iter().map(|q| std::mem::take(&mut truth[*q])).collect();
        Ok(Self { queries, positives, empty })
    }

    /// The photographs of the queries.
    pub(crate) fn photos<'a>(&self, dataset: &'a Dataset) -> Vec<&'a Photo> {
        self.queries.iter().map(|q| &dataset.queries[*q]).collect()
    }
}

/// Features of both sides.
pub(crate) struct Extracted {
    pub(crate) database: Side,
    pub(crate) queries: Side,
    /// Images that could not be used, with the reason.
    pub(crate) unusable: Vec<(PathBuf, String)>,
    /// Images extracted each second; none where an earlier run had extracted all.
    pub(crate) images_per_second: Option<f64>,
}

impl Extracted {
    /// Extracts a dataset's database and the queries that count.
    pub(crate) fn of(
        dataset: &Dataset,
        counted: &Counted,
        extractor: &Extractor,
        layout: Layout,
        options: &EvalOptions,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let started = Instant::now();
        let mut unusable = Vec::new();
        let mut side = |photos: &[&Photo], layout: Layout| {
            Side::extract(extractor, photos, layout, &options.keeping, progress, &mut unusable)
        };
        let database = side(&dataset.database.iter().collect::<Vec<_>>(), layout)?;
        let queries = side(&counted.photos(dataset), layout.seen_as(options.queries_as))?;
        let images = database.extracted + queries.extracted;
        let images_per_second = (images > 0).then(|| images as f64 / started.elapsed().as_secs_f64());
        Ok(Self { database, queries, unusable, images_per_second })
    }

    /// Database and queries, with all of their local features or some of them.
    pub(crate) fn views(&self, choice: Option<Choice>) -> [View<'_>; 2] {
        // By chance, the two sides are drawn from different numbers.
        let queries = choice.map(|c| Choice { random: c.random.map(|seed| !seed), ..c });
        [View { side: &self.database, choice }, View { side: &self.queries, choice: queries }]
    }
}
