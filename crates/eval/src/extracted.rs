//! The extracted features of a dataset: everything that search and reranking need.

use crate::features::UnusableImage;
use crate::layout::Layout;
use crate::units::Units;
use crate::view::{Choice, View};
use crate::{EvalError, EvalOptions, QueryPreprocessing, Result};
use r2former_data::dataset::Dataset;
use r2former_engine::{Extractor, Progress};
use std::time::Instant;

/// Features of both sides.
pub(crate) struct Extracted {
    pub(crate) database: Units,
    pub(crate) queries: Units,
    /// Indices of these queries in the dataset.
    pub(crate) chosen: Vec<usize>,
    pub(crate) unusable: Vec<UnusableImage>,
    /// Images extracted per second; `None` if an earlier run had extracted all.
    pub(crate) images_per_second: Option<f64>,
}

impl Extracted {
    /// Extracts the database of a dataset and the chosen queries.
    pub(crate) fn of(
        dataset: &Dataset,
        chosen: Vec<usize>,
        extractor: &Extractor,
        layout: Layout,
        options: &EvalOptions,
        progress: &dyn Progress,
    ) -> Result<Self> {
        if let Some(rule) = extractor.settings().rule
            && options.query_preprocessing != QueryPreprocessing::HardResize
        {
            return Err(EvalError::Request(format!(
                "the image size is {rule}, by which a query is seen in its own shape: --query-preprocessing {} needs a fixed \
                 size (--image-size HxW)",
                options.query_preprocessing
            )));
        }
        let started = Instant::now();
        let mut unusable = Vec::new();
        let mut side = |entries, chosen: &[usize], layout: Layout| {
            Units::extract(extractor, entries, chosen, layout, &options.storage, progress, &mut unusable)
        };
        let all: Vec<usize> = (0..dataset.database.len()).collect();
        let database = side((&dataset.database, dataset.sequences.database.as_ref()), &all, layout)?;
        let queries = (&*dataset.queries, dataset.sequences.queries.as_ref());
        let queries = side(queries, &chosen, layout.preprocessed(options.query_preprocessing))?;
        let images = database.images.extracted + queries.images.extracted;
        let images_per_second = (images > 0).then(|| images as f64 / started.elapsed().as_secs_f64());
        Ok(Self { database, queries, chosen, unusable, images_per_second })
    }

    /// Database and queries, with all of their local features or a choice of them.
    pub(crate) fn views(&self, choice: Option<Choice>) -> [View<'_>; 2] {
        // Random choices of the two sides use different seeds.
        let queries = choice.map(|c| Choice { random: c.random.map(|seed| !seed), ..c });
        [View { units: &self.database, choice }, View { units: &self.queries, choice: queries }]
    }
}
