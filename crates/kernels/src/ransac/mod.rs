//! Geometric verification of two images without learning, the field's baseline: features that are each other's
//! nearest, and the homography that most of them agree on.

mod homography;
mod mutual;
mod refine;

pub use homography::{Correspondence, HomographyFit, RansacOptions, ransac};
pub use mutual::{Mutual, mutual_nearest};
