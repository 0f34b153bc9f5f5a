//! One image's local features, normalised for the correlation, and the position embedding.

use crate::weights::KernelError;

/// One side of a pair, an image's local features: x, y and attention clamped to 0..1, features of unit length.
#[derive(Debug, Clone, Default)]
pub(crate) struct Side {
    /// x, y, attention of each feature.
    pub(crate) places: Vec<[f32; 3]>,
    /// Features of unit length, `[count, feature]`.
    pub(crate) features: Vec<f32>,
}

impl Side {
    /// Reads `min_count` or more f32 rows of x, y, attention and a feature of `feature` dimensions.
    pub(crate) fn read_floats(
        &mut self,
        feature: usize,
        min_count: usize,
        rows: &[f32],
    ) -> Result<(), KernelError> {
        self.check(feature, min_count, rows.len())?;
        for row in rows.chunks_exact(3 + feature) {
            let (place, feature) = row.split_at(3);
            self.places.push([0, 1, 2].map(|i| clamp(place[i])));
            self.features.extend(feature);
        }
        self.normalise(feature);
        Ok(())
    }

    /// Reads 8-bit rows: x, y and attention in steps of 1/255, features as 128 + 127 v / max |v|.
    pub(crate) fn read_bytes(
        &mut self,
        feature: usize,
        min_count: usize,
        rows: &[u8],
    ) -> Result<(), KernelError> {
        self.check(feature, min_count, rows.len())?;
        for row in rows.chunks_exact(3 + feature) {
            let (place, feature) = row.split_at(3);
            self.places.push([0, 1, 2].map(|i| f32::from(place[i]) / 255.0));
            self.features.extend(feature.iter().map(|byte| (f32::from(*byte) - 128.0) / 127.0));
        }
        self.normalise(feature);
        Ok(())
    }

    fn check(&mut self, feature: usize, min_count: usize, values: usize) -> Result<(), KernelError> {
        self.places.clear();
        self.features.clear();
        let row = 3 + feature;
        if !values.is_multiple_of(row) {
            return Err(KernelError::Input(format!("{values} values are not rows of {row}")));
        }
        let count = values / row;
        if count < min_count {
            return Err(KernelError::Unsupported(format!(
                "{count} local features; at least {min_count} are needed"
            )));
        }
        Ok(())
    }

    fn normalise(&mut self, feature: usize) {
        for feature in self.features.chunks_exact_mut(feature) {
            let length = feature.iter().map(|v| v * v).sum::<f32>().sqrt();
            let scale = 1.0 / length.max(MIN_LENGTH);
            feature.iter_mut().for_each(|v| *v *= scale);
        }
    }

    /// Feature `i` at unit length.
    pub(crate) fn feature(&self, i: usize) -> &[f32] {
        let width = self.features.len() / self.places.len().max(1);
        &self.features[i * width..][..width]
    }

    pub(crate) fn count(&self) -> usize {
        self.places.len()
    }
}

/// Lower bound of a length, as in PyTorch's `normalize`: a zero feature stays zero.
pub(crate) const MIN_LENGTH: f32 = 1e-12;

/// Clamps to 0..1; NaN stays NaN.
fn clamp(value: f32) -> f32 {
    if value.is_nan() { value } else { value.clamp(0.0, 1.0) }
}

/// Adds the sine-cosine embedding of (u, v) to `out`: for each coordinate `dim / 4` sines, then `dim / 4` cosines, of
/// frequencies 10000^(-j / (dim / 4)).
pub(crate) fn add_sine_cosine(u: f32, v: f32, frequencies: &[f32], out: &mut [f32]) {
    let quarter = frequencies.len();
    for (axis, value) in [u, v].into_iter().enumerate() {
        for (j, frequency) in frequencies.iter().enumerate() {
            let (sine, cosine) = (value * frequency).sin_cos();
            out[2 * axis * quarter + j] += sine;
            out[(2 * axis + 1) * quarter + j] += cosine;
        }
    }
}

/// Frequencies of the embedding for tokens of width `dim`.
pub(crate) fn frequencies(dim: usize) -> Vec<f32> {
    let quarter = dim / 4;
    (0..quarter).map(|j| 10_000f64.powf(-(j as f64) / quarter as f64) as f32).collect()
}
