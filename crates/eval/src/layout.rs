//! The layout of extracted features.

use crate::QueryPreprocessing;
use r2former_engine::Extractor;
use r2former_model::Bits;

/// How the features of one side of a dataset are laid out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Layout {
    /// How its images are resized or cropped.
    pub(crate) preprocessing: QueryPreprocessing,
    /// Dimensions of the descriptors of an image: of one global descriptor, or of several side by side.
    pub(crate) dim: usize,
    /// Values per local feature: x, y, attention, descriptor.
    pub(crate) row: usize,
    /// Local features per image, at most; 0 where none are kept.
    pub(crate) count: usize,
    /// Bits per value of a local feature.
    pub(crate) bits: Bits,
}

impl Layout {
    /// Of an extractor's features.
    pub(crate) fn of(extractor: &Extractor, keep_local: bool, bits: Bits) -> Self {
        let (config, settings) = (extractor.config(), extractor.settings());
        let count = if keep_local { settings.most_local(config) } else { 0 };
        let preprocessing = QueryPreprocessing::HardResize;
        Self { preprocessing, dim: config.global_dim(), row: config.local_row(), count, bits }
    }

    /// The same for images that are resized or cropped in another way.
    pub(crate) fn preprocessed(self, preprocessing: QueryPreprocessing) -> Self {
        Self { preprocessing, dim: self.descriptor() * preprocessing.descriptors(), ..self }
    }

    /// Dimensions of one global descriptor.
    pub(crate) fn descriptor(&self) -> usize {
        self.dim / self.preprocessing.descriptors()
    }

    /// Bytes of an image's local features, at most.
    pub(crate) fn local_bytes(&self) -> usize {
        self.count * self.row * self.bits.bytes()
    }
}
