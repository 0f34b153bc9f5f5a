//! Names of queries and references in predictions files.

use super::PredictionsError;
use r2former_data::Photo;
use r2former_data::dataset::{Dataset, SequenceSide};
use std::collections::{HashMap, HashSet};

/// The names of one side.
pub(super) struct Names {
    /// The names as written: the keys of the source (MSLS) if each image has its own, else the photographs' names; those
    /// of a sequence's frames joined by commas.
    pub(super) written: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Names {
    pub(super) fn of_queries(dataset: &Dataset) -> Result<Self, PredictionsError> {
        Self::of("queries", &dataset.queries, dataset.sequences.queries.as_ref())
    }

    pub(super) fn of_database(dataset: &Dataset) -> Result<Self, PredictionsError> {
        Self::of("database", &dataset.database, dataset.sequences.database.as_ref())
    }

    fn of(
        side: &'static str,
        entries: &[Photo],
        sequences: Option<&SequenceSide>,
    ) -> Result<Self, PredictionsError> {
        let frames = sequences.map_or(entries, |side| &side.frames);
        // A column of a table that happens to be named `key` need not be unique.
        let keys: Option<HashSet<&String>> = frames.iter().map(|photo| photo.tags.get("key")).collect();
        let by_key = keys.is_some_and(|keys| keys.len() == frames.len());
        let name = |photo: &Photo| match photo.tags.get("key") {
            Some(key) if by_key => key.clone(),
            _ => photo.name.clone(),
        };
        let written: Vec<String> = match sequences {
            None => entries.iter().map(name).collect(),
            Some(side) => (0..entries.len())
                .map(|sequence| side.of(sequence).map(name).collect::<Vec<_>>().join(","))
                .collect(),
        };
        let mut numbers = HashMap::with_capacity(written.len());
        for (number, name) in (0u32..).zip(&written) {
            if numbers.insert(name.clone(), number).is_some() {
                return Err(PredictionsError::SameName { side, name: name.clone() });
            }
        }
        Ok(Self { written, numbers })
    }

    /// Index of a name.
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }
}
