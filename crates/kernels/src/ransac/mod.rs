//! Geometric verification of two images, the baseline of learned reranking: mutual nearest neighbours of local
//! features ([`MutualSearch`]), and the homography with the most inliers among them ([`ransac()`]), or the similarity under which they agree
//! best ([`similarity()`]).
//!
//! ```
//! use r2former_kernels::Level;
//! use r2former_kernels::ransac::{Correspondence, RansacOptions, ransac};
//!
//! // A grid of points moved by (40, -10) pixels, and one outlier.
//! let mut pairs: Vec<Correspondence> = (0..20)
//!     .map(|i| {
//!         let [x, y] = [(i % 5 * 100) as f32, (i / 5 * 100) as f32];
//!         Correspondence { query: [x, y], reference: [x + 40.0, y - 10.0] }
//!     })
//!     .collect();
//! pairs.push(Correspondence { query: [50.0, 50.0], reference: [600.0, 400.0] });
//! let fit = ransac(Level::best(), &pairs, &RansacOptions::within(24.0)).expect("enough points, not on a line");
//! assert_eq!(fit.count, 20);
//! assert!(!fit.inliers[20]);
//! ```

mod homography;
mod mutual;
mod refine;
mod similarity;

pub use homography::{Correspondence, Fit, RansacOptions, ransac};
pub use mutual::{FeatureRows, Mutual, MutualSearch};
pub use similarity::similarity;
