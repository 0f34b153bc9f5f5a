//! Query preprocessing: the variants of the deep visual geo-localization benchmark (`test_method`).
//!
//! Database images are always resized to the model's input size. Reranking uses the local features of the same view of
//! the query as the search; for five crops, those of the whole query resized to the input size, because references are
//! not crops either.

use r2former_engine::{Framing, ImageFeatures};
use serde::{Deserialize, Serialize};

/// Depths of each crop's list at which references get votes, as in the benchmark.
const VOTE_DEPTHS: [usize; 3] = [1, 5, 10];
/// The benchmark's weight of a vote (`majority_weight`), in squared distance of unit descriptors.
const VOTE_WEIGHT: f32 = 0.01;

/// How a query is resized or cropped before extraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum QueryPreprocessing {
    /// Resized to the model's input size, whatever its aspect ratio.
    #[default]
    HardResize,
    /// Resized in its own aspect ratio, the shorter side to that of the model's input.
    SingleQuery,
    /// The largest central crop with the aspect ratio of the model's input.
    CentralCrop,
    /// The mean descriptor of five square crops.
    FiveCrops,
    /// Five square crops, each searched on its own; a reference is ranked by its most similar crop.
    NearestCrop,
    /// Like [`QueryPreprocessing::NearestCrop`], with votes for references that several crops find.
    MajVoting,
}

const NAMES: [(QueryPreprocessing, &str, &str); 6] = [
    (QueryPreprocessing::HardResize, "hard_resize", "resized to the model's input size"),
    (
        QueryPreprocessing::SingleQuery,
        "single_query",
        "resized in their own aspect ratio, the shorter side to the model's, the longer to the nearest multiple of the patch",
    ),
    (
        QueryPreprocessing::CentralCrop,
        "central_crop",
        "the largest central crop with the model's aspect ratio",
    ),
    (QueryPreprocessing::FiveCrops, "five_crops", "the mean descriptor of five square crops"),
    (
        QueryPreprocessing::NearestCrop,
        "nearest_crop",
        "five square crops, a reference ranked by its most similar crop",
    ),
    (
        QueryPreprocessing::MajVoting,
        "maj_voting",
        "five square crops, a reference ranked by its most similar crop, with votes of weight 0.01",
    ),
];

impl QueryPreprocessing {
    /// The name and its meaning; if `reranked`, also which view is reranked.
    pub fn describe(self, reranked: bool) -> String {
        let meaning = NAMES.iter().find(|(own, ..)| *own == self).map_or("", |(.., meaning)| meaning);
        let whole = if reranked && self.has_crops() { "; reranked by the whole query" } else { "" };
        format!("{self}: {meaning}{whole}")
    }

    fn has_crops(self) -> bool {
        matches!(self, Self::FiveCrops | Self::NearestCrop | Self::MajVoting)
    }

    /// Views of each query; the last one is reranked.
    pub(crate) fn framings(self, keep_local: bool) -> Vec<Framing> {
        match self {
            Self::HardResize => vec![Framing::Whole],
            Self::SingleQuery => vec![Framing::OwnShape],
            Self::CentralCrop => vec![Framing::CentralCrop],
            _ if keep_local => vec![Framing::FiveCrops, Framing::Whole],
            _ => vec![Framing::FiveCrops],
        }
    }

    /// Number of descriptors that each query is searched by.
    pub(crate) fn descriptors(self) -> usize {
        if matches!(self, Self::NearestCrop | Self::MajVoting) { Framing::FiveCrops.views() } else { 1 }
    }

    /// Merges the features of an image's views: the descriptors to search by, side by side, and the local features to
    /// rerank by.
    pub(crate) fn fold(self, mut views: Vec<ImageFeatures>) -> ImageFeatures {
        let local = views.pop().map_or_else(ImageFeatures::default, |last| {
            let local = last.local.clone();
            views.push(last);
            ImageFeatures { global: Vec::new(), local }
        });
        if self.has_crops() {
            views.truncate(Framing::FiveCrops.views());
        }
        let global = match self {
            Self::FiveCrops => mean(&views),
            _ => views.into_iter().flat_map(|view| view.global).collect(),
        };
        ImageFeatures { global, ..local }
    }

    /// Merges the lists of references of each descriptor into one, best first; scores are cosines plus votes. A
    /// reference in several lists keeps its best score.
    ///
    /// The benchmark cuts every list to 20 and keeps 20 in the end. Longer lists give the same first 20: a reference
    /// behind the twentieth of its list is worse than 20 others, and votes only raise the first ten.
    pub(crate) fn merge(self, mut lists: Vec<Vec<(u32, f32)>>) -> Vec<(u32, f32)> {
        if lists.len() == 1 {
            return lists.remove(0);
        }
        let depth = lists.iter().map(Vec::len).max().unwrap_or(0);
        if self == Self::MajVoting {
            vote(&mut lists);
        }
        let mut all = lists.concat();
        // Stable: equal scores stay in the sequence of the crops.
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut seen = std::collections::HashSet::new();
        all.retain(|(reference, _)| seen.insert(*reference));
        all.truncate(depth);
        all
    }
}

/// The mean of unit descriptors, normalised; this ranks references as the mean itself does.
fn mean(views: &[ImageFeatures]) -> Vec<f32> {
    let dim = views.first().map_or(0, |view| view.global.len());
    let mut sum = vec![0.0f32; dim];
    for view in views {
        sum.iter_mut().zip(&view.global).for_each(|(sum, value)| *sum += value);
    }
    let length = sum.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-12);
    sum.iter_mut().for_each(|v| *v /= length);
    sum
}

/// The benchmark's votes: for n = 1, 5 and 10, a reference among the first n of c > 1 crops comes nearer by
/// weight * c / n in squared distance, which is half of that in cosine.
fn vote(lists: &mut [Vec<(u32, f32)>]) {
    for n in VOTE_DEPTHS {
        let mut crops = std::collections::HashMap::new();
        for (reference, _) in lists.iter().flat_map(|list| list.iter().take(n)) {
            *crops.entry(*reference).or_insert(0usize) += 1;
        }
        for (reference, score) in lists.iter_mut().flat_map(|list| list.iter_mut().take(n)) {
            let count = crops.get(reference).copied().unwrap_or(0);
            if count > 1 {
                *score += VOTE_WEIGHT * count as f32 / n as f32 / 2.0;
            }
        }
    }
}

impl std::fmt::Display for QueryPreprocessing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(NAMES.iter().find(|(own, ..)| own == self).map_or("", |(_, name, _)| name))
    }
}

impl std::str::FromStr for QueryPreprocessing {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        NAMES.iter().find(|(_, name, _)| *name == text).map(|(own, ..)| *own).ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(_, name, _)| *name).collect();
            format!("'{text}' is none of {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(global: &[f32], local: f32) -> ImageFeatures {
        ImageFeatures { global: global.to_vec(), local: vec![local] }
    }

    #[test]
    fn names_are_those_of_the_benchmark() {
        for (own, name, _) in NAMES {
            assert_eq!(name.parse(), Ok(own));
            assert_eq!(serde_json::to_string(&own).unwrap(), format!("\"{own}\""));
        }
        assert!("crop".parse::<QueryPreprocessing>().unwrap_err().contains("hard_resize, single_query"));
        assert!(QueryPreprocessing::NearestCrop.describe(true).ends_with("reranked by the whole query"));
        assert!(!QueryPreprocessing::SingleQuery.describe(true).contains("reranked"));
    }

    #[test]
    fn views_of_an_image_are_merged() {
        let single = QueryPreprocessing::SingleQuery.fold(vec![features(&[1.0, 0.0], 7.0)]);
        assert_eq!(single, features(&[1.0, 0.0], 7.0));
        let mut views = vec![features(&[1.0, 0.0], 1.0); 5];
        views[4] = features(&[0.0, 1.0], 5.0);
        // The last view is the whole query: its descriptor is not searched, its local features are reranked.
        let with_whole = [views.clone(), vec![features(&[0.5, 0.5], 9.0)]].concat();
        let crops = QueryPreprocessing::NearestCrop.fold(with_whole.clone());
        assert_eq!(crops.global, [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
        assert_eq!(crops.local, [9.0]);
        let mean = QueryPreprocessing::FiveCrops.fold(with_whole);
        let length = 17f32.sqrt();
        assert!((mean.global[0] - 4.0 / length).abs() < 1e-6 && (mean.global[1] - 1.0 / length).abs() < 1e-6);
        assert_eq!((mean.local, QueryPreprocessing::FiveCrops.fold(views).local), (vec![9.0], vec![5.0]));
        assert_eq!(QueryPreprocessing::MajVoting.framings(true), [Framing::FiveCrops, Framing::Whole]);
        assert_eq!(QueryPreprocessing::MajVoting.framings(false), [Framing::FiveCrops]);
    }

    #[test]
    fn the_nearest_crop_decides() {
        let lists = vec![vec![(1, 0.9), (2, 0.5)], vec![(2, 0.8), (3, 0.8)], vec![(1, 0.7), (3, 0.6)]];
        assert_eq!(QueryPreprocessing::NearestCrop.merge(lists.clone()), [(1, 0.9), (2, 0.8)]);
        assert_eq!(QueryPreprocessing::HardResize.merge(vec![lists[0].clone()]), lists[0]);
    }

    #[test]
    fn votes_move_what_several_crops_find() {
        // By distance alone 1 stands first; 2 is the first of two crops and among the first 5 and 10 of three.
        let mut lists =
            vec![vec![(1, 0.801), (2, 0.79)], vec![(2, 0.8), (4, 0.3)], vec![(2, 0.795), (5, 0.2)]];
        assert_eq!(QueryPreprocessing::NearestCrop.merge(lists.clone())[0].0, 1);
        let merged = QueryPreprocessing::MajVoting.merge(lists.clone());
        assert_eq!(merged[0].0, 2);
        let votes = 0.01 * (2.0 / 1.0 + 3.0 / 5.0 + 3.0 / 10.0) / 2.0;
        assert!((merged[0].1 - (0.8 + votes)).abs() < 1e-6, "{merged:?}");
        lists.truncate(1);
        assert_eq!(QueryPreprocessing::MajVoting.merge(lists.clone()), lists[0]);
    }
}
