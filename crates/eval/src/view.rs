//! The local features of one side as a ranking uses them: all as stored, a choice of them, or in fewer bits.

use crate::Result;
use crate::units::Units;
use r2former_engine::LocalRows;
use r2former_model::{Bits, quantize};
use std::borrow::Cow;

/// Local features of one image.
pub(crate) enum Local<'a> {
    /// In 8 bits, as an index stores them.
    Packed(Cow<'a, [u8]>),
    /// In 32 bits, whatever they were stored in.
    Floats(Vec<f32>),
}

impl<'a> Local<'a> {
    fn of(bytes: Cow<'a, [u8]>, bits: Bits, row: usize) -> Self {
        match bits {
            Bits::Eight => Self::Packed(bytes),
            _ => Self::Floats(bits.unpack(&bytes, row)),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Packed(bytes) => bytes.is_empty(),
            Self::Floats(rows) => rows.is_empty(),
        }
    }

    /// As a reranker takes a candidate's.
    pub(crate) fn rows(&self) -> LocalRows<'_> {
        match self {
            Self::Packed(bytes) => LocalRows::Packed(bytes),
            Self::Floats(rows) => LocalRows::Floats(rows),
        }
    }

    /// As a reranker takes a query's, `row` values per local feature.
    pub(crate) fn floats(self, row: usize) -> Vec<f32> {
        match self {
            Self::Packed(bytes) => quantize::dequantize(&bytes, row),
            Self::Floats(rows) => rows,
        }
    }
}

/// A choice of local features per image, and their precision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Choice {
    /// Local features per image, at most.
    pub(crate) count: usize,
    /// `Some`: drawn at random with this seed and the image's index. `None`: the most attended.
    pub(crate) random: Option<u64>,
    /// Bits per value; at most those stored.
    pub(crate) bits: Bits,
}

/// One side as a ranking uses it.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) units: &'a Units,
    /// `None`: all local features, as stored.
    pub(crate) choice: Option<Choice>,
}

impl<'a> View<'a> {
    /// Local features of each image of a unit; images without any are left out.
    pub(crate) fn local(&self, unit: usize) -> Result<Vec<Local<'a>>> {
        let all =
            self.units.members(unit).iter().map(|image| self.image(*image)).collect::<Result<Vec<_>>>()?;
        Ok(all.into_iter().filter(|local| !local.is_empty()).collect())
    }

    fn image(&self, image: usize) -> Result<Local<'a>> {
        let images = &self.units.images;
        let (stored, row) = (images.layout.bits, images.layout.row);
        let bytes = images.local(image)?;
        let Some(choice) = self.choice else { return Ok(Local::of(bytes, stored, row)) };
        let bytes = choice.of(bytes, row * stored.bytes(), image);
        if choice.bits == stored {
            return Ok(Local::of(bytes, stored, row));
        }
        let packed = choice.bits.pack(&stored.unpack(&bytes, row), row);
        Ok(Local::of(Cow::Owned(packed), choice.bits, row))
    }
}

impl Choice {
    /// The chosen rows of an image. Rows are sorted by attention, and stay so.
    fn of<'a>(&self, rows: Cow<'a, [u8]>, row_bytes: usize, image: usize) -> Cow<'a, [u8]> {
        let all = rows.len() / row_bytes.max(1);
        if self.count >= all {
            return rows;
        }
        let Some(seed) = self.random else {
            return match rows {
                Cow::Borrowed(rows) => Cow::Borrowed(&rows[..self.count * row_bytes]),
                Cow::Owned(mut rows) => {
                    rows.truncate(self.count * row_bytes);
                    Cow::Owned(rows)
                }
            };
        };
        let mut random = fastrand::Rng::with_seed(seed ^ (image as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut chosen = random.choose_multiple(0..all, self.count);
        chosen.sort_unstable();
        chosen.into_iter().flat_map(|i| &rows[i * row_bytes..][..row_bytes]).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::QueryPreprocessing;
    use crate::features::{FeatureStorage, Side};
    use crate::layout::Layout;

    /// Two images of four local features of 5 values, in `bits` bits.
    fn side(bits: Bits) -> Units {
        let layout = Layout { preprocessing: QueryPreprocessing::default(), dim: 1, row: 5, count: 4, bits };
        let mut side = Side::new(2, layout, None, &FeatureStorage::default(), &std::env::temp_dir()).unwrap();
        for image in 0..2 {
            let rows: Vec<f32> = (0..20).map(|i| (image * 20 + i) as f32 / 64.0).collect();
            side.put(image, &[1.0], bits.pack(&rows, 5)).unwrap();
        }
        Units::of_images(side)
    }

    fn part(units: &Units, choice: Choice) -> View<'_> {
        View { units, choice: Some(choice) }
    }

    fn rows(view: View<'_>, image: usize) -> Vec<f32> {
        view.local(image).unwrap().into_iter().flat_map(|local| local.floats(5)).collect()
    }

    #[test]
    fn a_count_keeps_the_most_attended() {
        let side = side(Bits::ThirtyTwo);
        let all = rows(View { units: &side, choice: None }, 1);
        assert_eq!(all.len(), 20);
        let of = |count| rows(part(&side, Choice { count, random: None, bits: Bits::ThirtyTwo }), 1);
        assert_eq!(of(2), all[..10]);
        assert_eq!(of(9), all);
        assert!(of(0).is_empty());
    }

    #[test]
    fn random_choice_depends_on_seed_and_image_alone() {
        let side = side(Bits::ThirtyTwo);
        let of = |seed, image| {
            let choice = Choice { count: 2, random: Some(seed), bits: Bits::ThirtyTwo };
            // The first value of a row says which row it was.
            let rows = rows(part(&side, choice), image);
            rows.chunks(5).map(|r| (r[0] * 64.0) as usize / 5 - 4 * image).collect::<Vec<_>>()
        };
        assert_eq!(of(7, 0), of(7, 0));
        let draws: std::collections::BTreeSet<Vec<usize>> = (0..200).map(|seed| of(seed, 1)).collect();
        assert_eq!(draws.len(), 6, "each pair of four is drawn, sorted: {draws:?}");
        assert!(draws.iter().all(|pair| pair[0] < pair[1] && pair[1] < 4));
        assert!((0..20).any(|seed| of(seed, 0) != of(seed, 1)));
    }

    #[test]
    fn fewer_bits_equal_what_an_index_stores() {
        let (full, packed) = (side(Bits::ThirtyTwo), side(Bits::Eight));
        let choice = |bits| Choice { count: 3, random: Some(3), bits };
        let narrowed = part(&full, choice(Bits::Eight)).local(1).unwrap();
        let stored = part(&packed, choice(Bits::Eight)).local(1).unwrap();
        match (&narrowed[..], &stored[..]) {
            ([Local::Packed(a)], [Local::Packed(b)]) => assert_eq!(a, b),
            _ => panic!("8 bits are passed on as stored"),
        }
        let half = rows(part(&full, choice(Bits::Sixteen)), 1);
        assert_eq!(half, rows(part(&full, choice(Bits::ThirtyTwo)), 1), "these values are exact in 16 bits");
    }
}
