//! One image's local features, made ready for the correlation.

use crate::weights::KernelError;

/// Places and features of one image: x, y and attention clamped to 0..1, features at unit length.
#[derive(Debug, Clone, Default)]
pub(crate) struct Side {
    /// x, y, attention of each feature.
    pub(crate) places: Vec<[f32; 3]>,
    /// Features of unit length, one after the other.
    pub(crate) features: Vec<f32>,
}

impl Side {
    /// From rows x, y, attention, feature (`feature` numbers) in full precision, `least` rows or more.
    pub(crate) fn read_floats(
        &mut self,
        feature: usize,
        least: usize,
        rows: &[f32],
    ) -> Result<(), KernelError> {
        self.check(feature, least, rows.len())?;
        for row in rows.chunks_exact(3 + feature) {
            let (place, feature) = row.split_at(3);
            self.places.push([0, 1, 2].map(|i| clamp(place[i])));
            self.features.extend(feature);
        }
        self.finish(feature);
        Ok(())
    }

    /// From rows in 8 bits: places in steps of 1/255, features as 128 + 127 v / largest.
    pub(crate) fn read_bytes(
        &mut self,
        feature: usize,
        least: usize,
        rows: &[u8],
    ) -> Result<(), KernelError> {
        self.check(feature, least, rows.len())?;
        for row in rows.chunks_exact(3 + feature) {
            let (place, feature) = row.split_at(3);
            self.places.push([0, 1, 2].map(|i| f32::from(place[i]) / 255.0));
            self.features.extend(feature.iter().map(|byte| (f32::from(*byte) - 128.0) / 127.0));
        }
        self.finish(feature);
        Ok(())
    }

    fn check(&mut self, feature: usize, least: usize, values: usize) -> Result<(), KernelError> {
        self.places.clear();
        self.features.clear();
        let row = 3 + feature;
        if !values.is_multiple_of(row) {
            return Err(KernelError::Input(format!("{values} values are not rows of {row}")));
        }
        let count = values / row;
        if count < least {
            return Err(KernelError::Unsupported(format!("{count} local features; {least} are the least")));
        }
        Ok(())
    }

    fn finish(&mut self, feature: usize) {
        for feature in self.features.chunks_exact_mut(feature) {
            let length = feature.iter().map(|v| v * v).sum::<f32>().sqrt();
            let scale = 1.0 / length.max(SHORTEST);
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

/// Lengths below this count as this, as in PyTorch's normalisation: a zero feature stays zero.
pub(crate) const SHORTEST: f32 = 1e-12;

/// To 0..1; what is no number stays none.
fn clamp(value: f32) -> f32 {
    if value.is_nan() { value } else { value.clamp(0.0, 1.0) }
}

/// Adds the sine-cosine embedding of (u, v) to `out`: for each of the two `dim / 4` sines, then as many
/// cosines, of frequencies 10000^(-j / (dim / 4)).
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

/// Frequencies of the embedding for tokens of `dim` numbers.
pub(crate) fn frequencies(dim: usize) -> Vec<f32> {
    let quarter = dim / 4;
    (0..quarter).map(|j| 10_000f64.powf(-(j as f64) / quarter as f64) as f32).collect()
}
