//! What is ranked: images, or sequences described by their frames.

use crate::Result;
use crate::features::{Keeping, Side};
use r2former_data::Photo;
use r2former_data::dataset::SequenceSide;
use r2former_engine::{Extractor, Progress};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// How sequences are compared, in words.
pub(crate) const SEQUENCES: &str = "a sequence's descriptor is the mean of its frames', of unit length again; \
                                    reranking takes the best pair of frames";

/// One side as it is ranked.
pub(crate) struct Units {
    /// Rows of unit length, one a unit; zero where no image of it could be used: similar to nothing.
    pub(crate) global: Vec<f32>,
    images: Side,
    /// Numbers of each unit's images; none where every unit is one image.
    members: Option<Vec<Vec<usize>>>,
}

impl Units {
    /// Extracts the images of the chosen entries of a side; images that cannot be used go to `unusable` with the
    /// reason.
    pub(crate) fn extract(
        extractor: &Extractor,
        (entries, sequences): (&[Photo], Option<&SequenceSide>),
        chosen: &[usize],
        keep_local: bool,
        keeping: &Keeping,
        progress: &dyn Progress,
        unusable: &mut Vec<(PathBuf, String)>,
    ) -> Result<Self> {
        let (photos, members) = match sequences {
            None => (chosen.iter().map(|entry| &entries[*entry]).collect(), None),
            Some(side) => {
                let (photos, members) = used(side, chosen);
                (photos, Some(members))
            }
        };
        let mut images = Side::extract(extractor, &photos, keep_local, keeping, progress, unusable)?;
        let global = std::mem::take(&mut images.global);
        let global = match &members {
            None => global,
            Some(members) => pooled(&global, members, extractor.config().global_dim()),
        };
        Ok(Self { global, images, members })
    }

    /// Images that were extracted now and not by an earlier run.
    pub(crate) fn extracted(&self) -> usize {
        self.images.extracted
    }

    /// Local features in 8 bits of each image of a unit that has some.
    pub(crate) fn local(&self, unit: usize) -> Result<Vec<Cow<'_, [u8]>>> {
        let all = match &self.members {
            None => vec![self.images.local(unit)?],
            Some(members) => members[unit].iter().map(|i| self.images.local(*i)).collect::<Result<_>>()?,
        };
        Ok(all.into_iter().filter(|local| !local.is_empty()).collect())
    }
}

/// The frames that the chosen sequences are made of, each once, and the sequences as numbers of them.
fn used<'a>(side: &'a SequenceSide, chosen: &[usize]) -> (Vec<&'a Photo>, Vec<Vec<usize>>) {
    let frames: BTreeSet<u32> =
        chosen.iter().flat_map(|sequence| &side.members[*sequence]).copied().collect();
    let mut number = vec![0; side.frames.len()];
    for (i, frame) in frames.iter().enumerate() {
        number[*frame as usize] = i;
    }
    let photos = frames.iter().map(|frame| &side.frames[*frame as usize]).collect();
    let members = |sequence: &usize| side.members[*sequence].iter().map(|f| number[*f as usize]).collect();
    (photos, chosen.iter().map(members).collect())
}

/// The mean of each sequence's rows, of unit length. Rows of zeros do not pull at it.
fn pooled(rows: &[f32], members: &[Vec<usize>], dim: usize) -> Vec<f32> {
    let mut all = Vec::with_capacity(members.len() * dim);
    for frames in members {
        let mut sum = vec![0.0f32; dim];
        for frame in frames {
            sum.iter_mut().zip(&rows[frame * dim..(frame + 1) * dim]).for_each(|(s, v)| *s += v);
        }
        let length = sum.iter().map(|v| v * v).sum::<f32>().sqrt();
        if length > 0.0 {
            sum.iter_mut().for_each(|v| *v /= length);
        }
        all.extend(sum);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_point_the_mean_way() {
        // (1, 0) and (0, 1) point to (1, 1); an unreadable frame changes nothing; none at all is similar to nothing.
        let rows = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0];
        let half = 0.5f32.sqrt();
        let found = pooled(&rows, &[vec![0, 1], vec![1, 2], vec![2]], 2);
        for (found, expected) in found.iter().zip([half, half, 0.0, 1.0, 0.0, 0.0]) {
            assert!((found - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn only_the_chosen_sequences_frames_are_extracted() {
        let frames: Vec<Photo> = (0..5).map(|i| Photo::new(format!("{i}"), format!("{i}"))).collect();
        let side = SequenceSide { frames, members: vec![vec![0, 1, 2], vec![1, 2, 3], vec![2, 3, 4]] };
        let (photos, members) = used(&side, &[2, 1]);
        assert_eq!(photos.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["1", "2", "3", "4"]);
        assert_eq!(members, [[1, 2, 3], [0, 1, 2]]);
    }
}
