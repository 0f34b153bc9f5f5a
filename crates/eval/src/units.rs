//! What is ranked: images, or sequences described by their frames.

use crate::Result;
use crate::features::{Keeping, Layout, Side};
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
    /// Rows of one or several descriptors of unit length, one row a unit; zero where no image of it could be used:
    /// similar to nothing.
    pub(crate) global: Vec<f32>,
    pub(crate) images: Side,
    /// Numbers of each unit's images; none where every unit is one image.
    members: Option<Vec<Vec<usize>>>,
}

impl Units {
    /// Units of one image each.
    pub(crate) fn of_images(mut images: Side) -> Self {
        Self { global: std::mem::take(&mut images.global), images, members: None }
    }

    /// Extracts the images of the chosen entries of a side; images that cannot be used go to `unusable` with the
    /// reason.
    pub(crate) fn extract(
        extractor: &Extractor,
        (entries, sequences): (&[Photo], Option<&SequenceSide>),
        chosen: &[usize],
        layout: Layout,
        keeping: &Keeping,
        progress: &dyn Progress,
        unusable: &mut Vec<(PathBuf, String)>,
    ) -> Result<Self> {
        let mut extract =
            |photos: &[&Photo]| Side::extract(extractor, photos, layout, keeping, progress, unusable);
        let Some(side) = sequences else {
            let photos: Vec<&Photo> = chosen.iter().map(|entry| &entries[*entry]).collect();
            return Ok(Self::of_images(extract(&photos)?));
        };
        let (photos, members) = used(side, chosen);
        let mut images = extract(&photos)?;
        let global = pooled(&std::mem::take(&mut images.global), &members, &layout);
        Ok(Self { global, images, members: Some(members) })
    }

    /// Numbers of a unit's images.
    pub(crate) fn members(&self, unit: usize) -> Cow<'_, [usize]> {
        match &self.members {
            None => Cow::Owned(vec![unit]),
            Some(members) => Cow::Borrowed(&members[unit]),
        }
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

/// The mean of each sequence's rows, each descriptor of unit length again. Rows of zeros do not pull at it.
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
    use crate::QueriesAs;
    use r2former_model::Bits;

    fn layout(dim: usize) -> Layout {
        Layout { seen_as: QueriesAs::HardResize, dim, row: 1, count: 0, bits: Bits::Eight }
    }

    #[test]
    fn sequences_point_the_mean_way() {
        // (1, 0) and (0, 1) point to (1, 1); an unreadable frame changes nothing; none at all is similar to nothing.
        let rows = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0];
        let half = 0.5f32.sqrt();
        let found = pooled(&rows, &[vec![0, 1], vec![1, 2], vec![2]], &layout(2));
        for (found, expected) in found.iter().zip([half, half, 0.0, 1.0, 0.0, 0.0]) {
            assert!((found - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn each_crop_of_a_sequence_is_of_unit_length() {
        let crops = layout(2).seen_as(QueriesAs::NearestCrop);
        assert_eq!((crops.dim, crops.descriptor()), (10, 2));
        // The first crop of both frames looks alike, the last ones are a right angle apart.
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
