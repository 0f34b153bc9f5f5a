//! Recall@1 with several queries in a row, fused as the frames of a sequence.

use crate::PerRanking;
use crate::confidence::{Asked, similarities};
use crate::metrics::{PairedTest, paired_test};
use crate::ranking::Ranking;
use r2former_data::Photo;
use r2former_engine::{RerankMethod, SequenceFilter, SequenceFrame, SequenceOptions};
use serde::Serialize;

/// Which queries are fused, and how far apart they may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Frames: the query and those before it.
    pub frames: usize,
    /// Metres per second that are not exceeded, where queries have times; `None`: the default of
    /// [`SequenceOptions`].
    pub max_speed: Option<f64>,
    /// Metres between two frames that are not exceeded where a time is missing or, without positions, places of the database
    /// in its order; `None`: the default.
    pub max_step: Option<f64>,
}

/// Recall@1 of windows of several frames.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WindowSummary {
    /// Frames of a window, the query the last of them; fewer at the start of a recording.
    pub frames: usize,
    /// Recordings: runs of queries of one folder and one `sequence`, `condition` and `city`.
    pub recordings: usize,
    /// Of each ranking.
    pub rankings: Vec<WindowRecall>,
}

/// Recall@1 of one ranking.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WindowRecall {
    /// What the ranking is by.
    pub ranking: RerankMethod,
    /// By each query alone.
    pub single: f64,
    /// By its window.
    pub fused: f64,
    /// The share of the wrong answers that windows put right, less those that they spoil.
    pub of_missing: f64,
    /// The two compared query by query.
    pub test: PairedTest,
}

/// Fuses each query with those before it in its recording. Queries stand in the order of their dataset.
pub(crate) fn fuse_windows(
    asked: &Asked<'_>,
    photos: &[&Photo],
    positives: &[&[u32]],
    rankings: &PerRanking<Vec<Ranking>>,
    window: Window,
) -> WindowSummary {
    let frames = window.frames;
    let starts = starts(photos);
    let order = (0..asked.references.len()).map(|i| (i.to_string(), i as f64)).collect();
    // A database without positions was recorded in its own order.
    let mut options = SequenceOptions::default().bounded([window.max_speed, window.max_step]);
    options.order = order;
    let of = |(ranking, all): (RerankMethod, &Vec<Ranking>)| {
        let frames_of: Vec<SequenceFrame> = (0..photos.len())
            .map(|q| {
                let similar = similarities(&rankings.global[q]);
                let by = if all[q].scores.is_empty() { RerankMethod::None } else { ranking };
                let time = photos[q].time.map(|seconds| seconds as f64);
                SequenceFrame { matches: asked.matches(&all[q], by, &similar), time, moved_m: None }
            })
            .collect();
        let right = |q: usize, reference: Option<u32>| reference.is_some_and(|r| positives[q].contains(&r));
        let single: Vec<bool> =
            (0..photos.len()).map(|q| right(q, all[q].references.first().copied())).collect();
        let fused: Vec<bool> = (0..photos.len())
            .map(|q| {
                let first = starts[q].max((q + 1).saturating_sub(frames));
                let mut filter = SequenceFilter::new(options.clone());
                let mut fix = None;
                for frame in &frames_of[first..=q] {
                    fix = filter.push(frame.clone());
                }
                right(q, fix.and_then(|fix| fix.place.path.parse().ok()))
            })
            .collect();
        let share = |hits: &[bool]| hits.iter().filter(|hit| **hit).count() as f64 / hits.len().max(1) as f64;
        let (alone, together) = (share(&single), share(&fused));
        let of_missing = if alone < 1.0 { (together - alone) / (1.0 - alone) } else { 0.0 };
        let test = paired_test(&single, &fused);
        WindowRecall { ranking, single: alone, fused: together, of_missing, test }
    };
    let recordings = (0..photos.len()).filter(|q| starts[*q] == *q).count();
    WindowSummary { frames, recordings, rankings: rankings.iter().map(of).collect() }
}

/// For each query the first one of its recording.
fn starts(photos: &[&Photo]) -> Vec<usize> {
    let key = |photo: &Photo| {
        let tag = |name: &str| photo.tags.get(name).cloned().unwrap_or_default();
        (photo.path.parent().map(|folder| folder.to_path_buf()), ["sequence", "condition", "city"].map(tag))
    };
    let mut starts: Vec<usize> = Vec::with_capacity(photos.len());
    for (q, photo) in photos.iter().enumerate() {
        let goes_on = q > 0 && key(photos[q - 1]) == key(photo);
        starts.push(if goes_on { starts[q - 1] } else { q });
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_ends_where_folder_or_sequence_change() {
        let photo = |path: &str, sequence: &str| {
            let mut photo = Photo::new(path, path);
            photo.tags.insert("sequence".into(), sequence.into());
            photo
        };
        let all =
            [photo("a/1", "x"), photo("a/2", "x"), photo("a/3", "y"), photo("b/1", "y"), photo("b/2", "y")];
        assert_eq!(starts(&all.iter().collect::<Vec<_>>()), [0, 0, 2, 3, 3]);
    }
}
