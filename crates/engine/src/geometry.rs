//! Geometric verification of local features by RANSAC: the baseline of the reranker (paper, table 1, "RANSAC").

use crate::{EngineError, Extractor, LocalRows, Result};
use r2former_kernels::Level;
use r2former_kernels::ransac::{
    Correspondence, FeatureRows, Fit, Mutual, MutualSearch, RansacOptions, ransac, similarity,
};
use r2former_model::Geometry;
use rayon::prelude::*;
use serde::Serialize;

/// Largest reprojection error of an inlier, in pixels of the network's input: one and a half patches of 16 pixels, as
/// in other place recognition tools. Where photographs differ in size, a pixel is one of an ordinary photograph
/// ([`Settings::height`](crate::Settings::height)): the tolerance is the same share of each one's longer side.
pub const TOLERANCE_PX: f32 = 24.0;

/// Two local features that are each other's nearest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MutualPair {
    /// Rows of the features in the query and in the reference, from 0.
    #[serde(skip)]
    pub rows: [usize; 2],
    /// x and y in the query, 0 to 1 of its larger side.
    pub query: [f32; 2],
    /// x and y in the reference, 0 to 1 of its larger side.
    pub reference: [f32; 2],
    /// Cosine of the features.
    pub similarity: f32,
    /// Whether it agrees with the transformation.
    pub inlier: bool,
}

/// The geometric verification of a pair of images.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verification {
    /// Mutual nearest neighbours.
    pub pairs: Vec<MutualPair>,
    /// Homography from the query's pixels to the reference's, row by row, up to scale, or the similarity that the model has in its place;
    /// `None` where fewer than four pairs agree. The longer side of either has as many pixels as that of the settings' size, whatever its own.
    pub homography: Option<[f64; 9]>,
    /// Pairs that agree.
    pub inliers: usize,
    /// The score of the pair of images: of a homography the number of inliers; of a similarity each counts 1 - (error / tolerance)².
    pub score: f32,
}

/// Verifies one query against candidates, one after the other.
pub struct Verifier {
    level: Level,
    row: usize,
    /// Pixels of the larger side of the network's input, or of what stands for inputs of different sizes.
    side: f32,
    /// Cosine above which features match.
    above: f32,
    geometry: Geometry,
    places: Vec<[f32; 2]>,
    features: MutualSearch,
}

impl Verifier {
    /// Prepares a query's local features, as the extractor gives them.
    ///
    /// # Errors
    /// [`EngineError::Request`] for a model without local features.
    pub fn new(extractor: &Extractor, query: &[f32]) -> Result<Self> {
        let row = extractor.config().local_row();
        let Some(local) = extractor.config().local.as_ref().filter(|_| row > PLACE) else {
            return Err(EngineError::Request(format!(
                "model {} has no local features: use --rerank none, or give it some (model copy --local patches)",
                extractor.config().name
            )));
        };
        let settings = extractor.settings();
        let level = Level::current().map_err(|error| EngineError::Request(error.to_string()))?;
        let places = query.chunks_exact(row).map(|values| [values[0], values[1]]).collect();
        let features = MutualSearch::new(level, PLACE, row - PLACE, query);
        let side = settings.height.max(settings.width) as f32;
        Ok(Self { level, row, side, above: local.match_above(), geometry: local.geometry, places, features })
    }

    /// Counts the local features of a reference that are mutual nearest neighbours of the query's.
    pub fn mutual<'a>(&self, reference: impl Into<LocalRows<'a>>) -> usize {
        self.matches(reference.into()).len()
    }

    /// The mutual nearest neighbours that are alike enough for the model.
    fn matches(&self, reference: LocalRows<'_>) -> Vec<Mutual> {
        let mut found = self.features.nearest(match reference {
            LocalRows::Packed(bytes) => FeatureRows::Bytes(bytes),
            LocalRows::Floats(rows) => FeatureRows::Floats(rows),
        });
        found.retain(|pair| pair.similarity > self.above);
        found
    }

    /// How well a reference agrees, whose local features are in 8 bits or in full precision ([`Verification::score`]).
    pub fn score<'a>(&self, reference: impl Into<LocalRows<'a>>) -> f32 {
        self.verify(reference).score
    }

    /// Matches a reference's local features, in 8 bits or in full precision, and finds the transformation under which they agree
    /// best.
    pub fn verify<'a>(&self, reference: impl Into<LocalRows<'a>>) -> Verification {
        let reference = reference.into();
        let mutual = self.matches(reference);
        let ends = mutual
            .iter()
            .map(|m| (self.places[m.query as usize], reference.place(m.reference as usize, self.row)));
        let scaled = |place: [f32; 2]| place.map(|v| v * self.side);
        let points: Vec<Correspondence> = ends
            .clone()
            .map(|(query, reference)| Correspondence { query: scaled(query), reference: scaled(reference) })
            .collect();
        let fit = match self.geometry {
            Geometry::Homography => ransac(self.level, &points, &RansacOptions::within(TOLERANCE_PX)),
            Geometry::Similarity => similarity(self.level, &points, TOLERANCE_PX),
        };
        let (homography, agreeing, inliers, score) = match fit {
            Some(Fit { matrix, inliers, count, score }) => (Some(matrix), inliers, count, score),
            None => (None, vec![false; points.len()], 0, 0.0),
        };
        let pairs = ends.zip(&mutual).zip(&agreeing).map(|(((query, reference), mutual), inlier)| {
            let rows = [mutual.query as usize, mutual.reference as usize];
            MutualPair { rows, query, reference, similarity: mutual.similarity, inlier: *inlier }
        });
        Verification { pairs: pairs.collect(), homography, inliers, score }
    }
}

/// A score of each candidate, whose local features are in 8 bits or in full precision, by comparing it with the query.
pub(crate) fn geometric_scores<'a, R>(
    extractor: &Extractor,
    query: &[f32],
    candidates: &[R],
    score: impl Fn(&Verifier, LocalRows<'_>) -> f32 + Sync,
) -> Result<Vec<f32>>
where
    R: Copy + Into<LocalRows<'a>> + Sync,
{
    let verifier = Verifier::new(extractor, query)?;
    let of = |rows: &R| score(&verifier, (*rows).into());
    Ok(candidates.par_iter().map(of).collect())
}

/// Values of a row before the feature: x, y and attention.
const PLACE: usize = 3;
