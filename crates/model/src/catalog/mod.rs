//! Published models for place recognition: where their files are to be had, under which terms, and whether they can be
//! imported. An imported model's provenance states origin and licences in these words.
//!
//! ```
//! let mixvpr = r2former_model::catalog::CATALOG.iter().find(|model| model.name == "MixVPR").expect("is listed");
//! assert_eq!(mixvpr.descriptors, [128, 512, 4096]);
//! assert!(mixvpr.importable);
//! ```

mod rows;

pub use rows::CATALOG;
pub(crate) use rows::{
    ANYLOC, BOQ, BOQ_RESNET, COSPLACE, COSPLACE_OR_EIGENPLACES, CRICAVPR, DINOV2, DINOV3, EIGENPLACES,
    MEGALOC, MIXVPR, NETVLAD, PATCH_NETVLAD, SALAD, SALAD_RUN, SELAVPR, SELAVPR_PLUS,
};

use serde::Serialize;

/// A published model, or several of one kind that differ in the length of their descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Published {
    /// Name.
    pub name: &'static str,
    /// The network before the aggregation.
    pub backbone: &'static str,
    /// Published lengths of the global descriptor.
    pub descriptors: &'static [usize],
    /// Parameters in millions, of the model with the longest descriptor. `None` where it was not counted.
    pub parameters_millions: Option<f64>,
    /// Image size, height x width in pixels, and how it is resized.
    pub image_size: &'static str,
    /// Authors, venue and year; empty where the name says enough.
    pub paper: &'static str,
    /// Recall@1 as its repository or paper states it, of the longest descriptor; empty where neither was read. None of it was
    /// measured here.
    pub recall: &'static [PublishedRecall],
    /// Where the recall is stated; empty where none is.
    pub recall_source: &'static str,
    /// Milliseconds of extracting one image of this size, of the longest descriptor, on two cores of an Intel Xeon with
    /// AVX-512 (`benches/peers.py`). `None` where it was not measured.
    pub milliseconds: Option<f64>,
    /// The repository of the code with which it was published.
    pub code: &'static str,
    /// Name of the file.
    pub file: &'static str,
    /// Where it is to be had.
    pub source: &'static str,
    /// Licence of the code with which it was published.
    pub code_license: &'static str,
    /// Licence of the weights, as far as it is stated apart from the code's.
    pub weights_license: &'static str,
    /// Whether `r2former model import` takes the file.
    pub importable: bool,
    /// What is missing or special.
    pub note: &'static str,
}

/// A published result.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PublishedRecall {
    /// The dataset, and what is special about the measurement.
    pub dataset: &'static str,
    /// Recall@1 in percent.
    pub recall_at_1: f64,
}

impl Published {
    /// Megabytes of its weights in 32 bits. Extraction takes about 1.15 times as much memory, and the rest of the program
    /// some 80 MB.
    pub fn weight_megabytes(&self) -> Option<f64> {
        self.parameters_millions.map(|millions| 4.0 * millions)
    }

    /// Name, paper and repository in one line.
    pub fn origin(&self) -> String {
        let paper = if self.paper.is_empty() { String::new() } else { format!(" ({})", self.paper) };
        format!("{}{paper}, {}", self.name, self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn rows_are_complete_and_differ() {
        let mut seen = BTreeSet::new();
        for row in CATALOG {
            let stated = [
                row.name,
                row.backbone,
                row.image_size,
                row.code,
                row.source,
                row.code_license,
                row.weights_license,
            ];
            assert!(stated.iter().all(|text| !text.is_empty()), "{row:?}");
            assert!(row.descriptors.is_sorted() && !row.descriptors.is_empty(), "{row:?}");
            assert!(!row.importable || !row.file.is_empty(), "{row:?}");
            assert!(row.importable || !row.note.is_empty(), "{row:?}: says what is missing");
            assert_eq!(row.recall.is_empty(), row.recall_source.is_empty(), "{row:?}");
            assert!(row.recall.iter().all(|of| (0.0..=100.0).contains(&of.recall_at_1)), "{row:?}");
            assert!(seen.insert((row.name, row.backbone)), "{row:?} is listed twice");
        }
    }
}
