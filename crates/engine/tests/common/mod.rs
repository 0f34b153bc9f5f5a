//! What several test files share.

use r2former_model::{Precision, PrecisionCheck, RerankedCheck};

/// A measurement by which 8 bits rank like 32: an index may mix the two.
pub(crate) fn ranks_alike() -> PrecisionCheck {
    PrecisionCheck {
        precision: Precision::Int8,
        images: 50,
        least_cosine: 0.999,
        mean_cosine: 0.9995,
        same_first: 1.0,
        same_first_mixed: 1.0,
        reranked: Some(RerankedCheck { queries: 50, ransac: 1.0, model: Some(1.0) }),
    }
}
