//! What an evaluation knows before anything is put in order: everybody's features.

use crate::Result;
use crate::features::Layout;
use crate::run::EvalOptions;
use crate::units::Units;
use crate::view::{Choice, View};
use r2former_data::dataset::Dataset;
use r2former_engine::{Extractor, Progress};
use std::path::PathBuf;
use std::time::Instant;

/// Features of both sides.
pub(crate) struct Extracted {
    pub(crate) database: Units,
    pub(crate) queries: Units,
    /// Numbers of these queries in the dataset.
    pub(crate) chosen: Vec<usize>,
    /// Images that could not be used, with the reason.
    pub(crate) unusable: Vec<(PathBuf, String)>,
    /// Images extracted each second; none where an earlier run had extracted all.
    pub(crate) images_per_second: Option<f64>,
}

impl Extracted {
    /// Extracts a dataset's database and the chosen ones of its queries.
    pub(crate) fn of(
        dataset: &Dataset,
        chosen: Vec<usize>,
        extractor: &Extractor,
        layout: Layout,
        options: &EvalOptions,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let started = Instant::now();
        let mut unusable = Vec::new();
        let mut side = |entries, chosen: &[usize], layout: Layout| {
            Units::extract(extractor, entries, chosen, layout, &options.keeping, progress, &mut unusable)
        };
        let all: Vec<usize> = (0..dataset.database.len()).collect();
        let database = side((&dataset.database, dataset.sequences.database.as_ref()), &all, layout)?;
        let asked = (&*dataset.queries, dataset.sequences.queries.as_ref());
        let queries = side(asked, &chosen, layout.seen_as(options.queries_as))?;
        let images = database.images.extracted + queries.images.extracted;
        let images_per_second = (images > 0).then(|| images as f64 / started.elapsed().as_secs_f64());
        Ok(Self { database, queries, chosen, unusable, images_per_second })
    }

    /// Database and queries, with all of their local features or some of them.
    pub(crate) fn views(&self, choice: Option<Choice>) -> [View<'_>; 2] {
        // By chance, the two sides are drawn from different numbers.
        let queries = choice.map(|c| Choice { random: c.random.map(|seed| !seed), ..c });
        [View { units: &self.database, choice }, View { units: &self.queries, choice: queries }]
    }
}
