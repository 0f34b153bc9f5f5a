//! Queries and references that are sequences of frames, and their ground truth.

use super::{Dataset, GroundTruth, GroundTruthRule};
use crate::{Photo, Result};
use std::collections::BTreeSet;

/// Which sides of a dataset are sequences; the default is a dataset of single images.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sequences {
    /// The frames of [`Dataset::database`], where its entries stand for sequences.
    pub database: Option<SequenceSide>,
    /// Likewise of [`Dataset::queries`].
    pub queries: Option<SequenceSide>,
}

/// The sequences of one side. The dataset's own entry for each is its middle frame.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SequenceSide {
    /// Every frame once: neighbouring sequences share most of theirs.
    pub frames: Vec<Photo>,
    /// For each entry of the side, in order, the numbers of its frames, first to last.
    pub members: Vec<Vec<u32>>,
}

impl SequenceSide {
    /// The frames of one sequence, first to last.
    pub fn of(&self, sequence: usize) -> impl Iterator<Item = &Photo> {
        self.members[sequence].iter().map(|frame| &self.frames[*frame as usize])
    }

    /// For each frame the sequences that hold it.
    fn holders(&self) -> Vec<Vec<u32>> {
        let mut holders = vec![Vec::new(); self.frames.len()];
        for (sequence, members) in (0u32..).zip(&self.members) {
            members.iter().for_each(|frame| holders[*frame as usize].push(sequence));
        }
        holders
    }
}

impl Dataset {
    /// The positives of each query: as the dataset lists them, or by [`GroundTruth::by_radius`]. A query and a
    /// reference of which either is a sequence match where any frame of one matches any frame of the other, as the
    /// official MSLS loader has it.
    ///
    /// # Errors
    /// As [`GroundTruth::by_radius`].
    pub fn ground_truth(&self, radius_m: f64, heading_limit_deg: Option<f64>) -> Result<GroundTruth> {
        if let GroundTruthRule::Listed(positives) = &self.truth {
            return Ok(GroundTruth { positives: positives.clone() });
        }
        let by_frame =
            GroundTruth::by_radius(self.database_frames(), self.query_frames(), radius_m, heading_limit_deg)?;
        Ok(self.of_sequences(by_frame))
    }

    /// Whether there is ground truth: a list, or a position on each side. The MSLS challenge's cities have
    /// neither; they can be ranked, not scored.
    pub fn has_ground_truth(&self) -> bool {
        let placed = |photos: &[Photo]| photos.iter().any(|p| p.position.is_some() || p.utm.is_some());
        match &self.truth {
            GroundTruthRule::Listed(_) => true,
            GroundTruthRule::Positions => placed(self.database_frames()) && placed(self.query_frames()),
        }
    }

    /// Every photograph that the database is made of: its images, or the frames of its sequences.
    pub fn database_frames(&self) -> &[Photo] {
        self.sequences.database.as_ref().map_or(&self.database, |side| &side.frames)
    }

    /// Likewise of the queries.
    pub fn query_frames(&self) -> &[Photo] {
        self.sequences.queries.as_ref().map_or(&self.queries, |side| &side.frames)
    }

    /// From frames to sequences, on whichever side there are some.
    fn of_sequences(&self, by_frame: GroundTruth) -> GroundTruth {
        let mut positives = by_frame.positives;
        if let Some(queries) = &self.sequences.queries {
            let all = |members: &Vec<u32>| -> BTreeSet<u32> {
                members.iter().flat_map(|frame| &positives[*frame as usize]).copied().collect()
            };
            positives = queries.members.iter().map(|members| all(members).into_iter().collect()).collect();
        }
        if let Some(database) = &self.sequences.database {
            let holders = database.holders();
            for right in &mut positives {
                let all: BTreeSet<u32> =
                    right.iter().flat_map(|frame| &holders[*frame as usize]).copied().collect();
                *right = all.into_iter().collect();
            }
        }
        GroundTruth { positives }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Utm;

    fn at(east: f64) -> Photo {
        let utm = Utm { easting: east, northing: 0.0, zone: None };
        Photo { utm: Some(utm), ..Photo::new(format!("{east}"), format!("{east}")) }
    }

    /// Frames every 20 m from `first` on, and every window of three of them.
    fn side(first: f64, frames: u32) -> (Vec<Photo>, SequenceSide) {
        let frames: Vec<Photo> = (0..frames).map(|i| at(first + 20.0 * f64::from(i))).collect();
        let members: Vec<Vec<u32>> = (1..frames.len() as u32 - 1).map(|i| vec![i - 1, i, i + 1]).collect();
        let middles = members.iter().map(|m| frames[m[1] as usize].clone()).collect();
        (middles, SequenceSide { frames, members })
    }

    #[test]
    fn any_frame_near_any_frame() {
        // The query's frames lie at 0, 20, 40; the references' at 100, 80 and 64, 44 and so on.
        let (queries, query_side) = side(0.0, 3);
        let (database, database_side) = side(64.0, 5);
        let mut set = Dataset {
            left_out: 0,
            name: "road".into(),
            // Windows 64 84 104, 84 104 124, 104 124 144: only the first has a frame within 25 m of 40.
            database,
            queries,
            truth: GroundTruthRule::Positions,
            notes: Vec::new(),
            sequences: Sequences { database: Some(database_side), queries: Some(query_side) },
        };
        let positives = |set: &Dataset, radius| set.ground_truth(radius, None).expect("sound").positives;
        assert_eq!(positives(&set, 25.0), [[0]]);
        // 84 is 44 m from 40, and in two windows.
        assert_eq!(positives(&set, 44.0), [[0, 1]]);
        // The middle frame alone, at 20: 64 is 44 m off, 84 is 64 m off.
        set.sequences.queries = None;
        assert_eq!(positives(&set, 25.0), [[0u32; 0]]);
        assert_eq!(positives(&set, 44.0), [[0]]);
        // Single references are the middles 84, 104, 124.
        set.sequences.database = None;
        assert_eq!(positives(&set, 64.0), [[0]]);
    }
}
