//! Two sets of images and a table of positives, in the layout of `r2former eval pairs`.

use super::photos::Photos;
use super::{Item, Source};
use crate::random::Rng;
use crate::{Result, TrainError};
use r2former_data::dataset::{GroundTruthRule, read_pairs};
use r2former_data::image::Rgb8;
use std::path::PathBuf;

/// Queries first, then the database.
pub(super) struct Pairs {
    photos: Photos,
    /// For each item, the items of the other side that it is listed with.
    pairs: Vec<Vec<u32>>,
}

impl Pairs {
    /// Database, queries and table of positives; of the queries only a part.
    pub(super) fn open([database, queries, positives]: [&PathBuf; 3], part: [f64; 2]) -> Result<Self> {
        let mut set = read_pairs(database, queries, positives)?;
        let all = set.queries.len();
        set.keep_part(part);
        let count = set.queries.len();
        let listed = match std::mem::replace(&mut set.truth, GroundTruthRule::Positions) {
            GroundTruthRule::Listed(listed) => listed,
            GroundTruthRule::Positions => Vec::new(),
        };
        if listed.iter().all(Vec::is_empty) {
            let problem = match part {
                [0.0, 1.0] => format!(
                    "lists no pairs: data.positives needs a row query,reference for each pair of photographs of the \
                     same place (the source has {all} queries)"
                ),
                [from, to] => format!(
                    "lists no pair of the {count} queries in data.part = [{from}, {to}] (of {all}): enlarge the part, \
                     or add rows"
                ),
            };
            return Err(TrainError::run(positives, problem));
        }
        let mut pairs = vec![Vec::new(); count + set.database.len()];
        for (query, references) in listed.into_iter().enumerate() {
            for reference in references {
                let item = count + reference as usize;
                // Ascending on both sides, as queries and references are.
                pairs[query].push(item as u32);
                pairs[item].push(query as u32);
            }
        }
        Ok(Self { photos: Photos::of(set), pairs })
    }
}

impl Source for Pairs {
    fn items(&self) -> Vec<Item> {
        self.photos.items()
    }

    fn image(&self, key: usize, size: [usize; 2], vary: Option<&mut Rng>) -> Result<Rgb8> {
        self.photos.image(key, size, vary)
    }

    fn queries(&self) -> usize {
        self.photos.queries()
    }

    fn pairs(&self) -> Option<Vec<Vec<u32>>> {
        Some(self.pairs.clone())
    }
}
