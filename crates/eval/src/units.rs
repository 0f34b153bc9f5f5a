//! The units of a ranking: images, or sequences of frames.

use crate::Result;
use crate::features::{FeatureStorage, Side, UnusableImage};
use crate::layout::Layout;
use r2former_data::Photo;
use r2former_data::dataset::SequenceSide;
use r2former_engine::{Extractor, Progress};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// How sequences are compared, for the protocol.
pub(crate) const SEQUENCES: &str = "a sequence's descriptor is the normalised mean of its frames'; reranking takes \
                                    the best pair of frames";

/// One side as it is ranked.
pub(crate) struct Units {
    /// One row per unit, of one or several descriptors of unit length; zero if no image of the unit was usable, so
    /// that it is similar to nothing.
    pub(crate) global: Vec<f32>,
    pub(crate) images: Side,
    /// Indices of each unit's images; `None` if every unit is one image.
    members: Option<Vec<Vec<usize>>>,
}

impl Units {
    /// Units of one image each.
    pub(crate) fn of_images(mut images: Side) -> Self {
        Self { global: std::mem::take(&mut images.global), images, members: None }
    }

    /// Extracts the images of the chosen entries of a side; unusable ones go to `unusable`.
    pub(crate) fn extract(
        extractor: &Extractor,
        (entries, sequences): (&[Photo], Option<&SequenceSide>),
        chosen: &[usize],
        layout: Layout,
        storage: &FeatureStorage,
        progress: &dyn Progress,
        unusable: &mut Vec<UnusableImage>,
    ) -> Result<Self> {
        let mut extract =
            |photos: &[&Photo]| Side::extract(extractor, photos, layout, storage, progress, unusable);
        let Some(side) = sequences else {
            let photos: Vec<&Photo> = chosen.iter().map(|entry| &entries[*entry]).collect();
            return Ok(Self::of_images(extract(&photos)?));
        };
        let (photos, members) = used(side, chosen);
        let mut images = extract(&photos)?;
        let global = pooled(&std::mem::take(&mut images.global), &members, &layout);
        Ok(Self { global, images, members: Some(members) })
    }

    /// Indices of a unit's images.
    pub(crate) fn members(&self, unit: usize) -> Cow<'_, [usize]> {
        match &self.members {
            None => Cow::Owned(vec![unit]),
            Some(members) => Cow::Borrowed(&members[unit]),
        }
    }
}

/// The frames of the chosen sequences, each once, and the sequences as indices into them.
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

/// The normalised mean of each sequence's descriptors. Zero rows do not change it.
fn pooled(rows: &[f32], members: &[Vec<usize>], layout: &Layout) -> Vec<f32> {
    let dim = layout.dim;
    let mut all = Vec::with_capacity(members.len() * dim);
    for frames in members {
        let mut sum = vec![0.0f32; dim];
        for frame in frames {
            sum.iter_mut().zip(&rows[frame * dim..(frame + 1) * dim]).for_each(|(s, v)| *s += v);
        }
        for descriptor in sum.chunks_mut(layout.descriptor()) {
            let length = descriptor.iter().map(|v| v * v).sum::<f32>().sqrt();
            if length > 0.0 {
                descriptor.iter_mut().for_each(|v| *v /= length);
            }
        }
        all.extend(sum);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::QueryPreprocessing;
    use r2former_model::Bits;

    fn layout(dim: usize) -> Layout {
        Layout { preprocessing: QueryPreprocessing::HardResize, dim, row: 1, count: 0, bits: Bits::Eight }
    }

    #[test]
    fn a_sequence_is_the_normalised_mean_of_its_frames() {
        // The mean of (1, 0) and (0, 1) points to (1, 1); an unreadable frame changes nothing; without any frame it is 0.
        let rows = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0];
        let half = 0.5f32.sqrt();
        let found = pooled(&rows, &[vec![0, 1], vec![1, 2], vec![2]], &layout(2));
        for (found, expected) in found.iter().zip([half, half, 0.0, 1.0, 0.0, 0.0]) {
            assert!((found - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn each_crop_of_a_sequence_is_of_unit_length() {
        let crops = layout(2).preprocessed(QueryPreprocessing::NearestCrop);
        assert_eq!((crops.dim, crops.descriptor()), (10, 2));
        // The first crops of both frames are equal, the last ones orthogonal.
        let frame = |last: [f32; 2]| [[1.0, 0.0].repeat(4), last.to_vec()].concat();
        let found = pooled(&[frame([1.0, 0.0]), frame([0.0, 1.0])].concat(), &[vec![0, 1]], &crops);
        assert_eq!(found.len(), 10);
        for crop in found.chunks(2) {
            assert!((crop.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-6, "{found:?}");
        }
        assert_eq!((found[0], found[8]), (1.0, found[9]));
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
