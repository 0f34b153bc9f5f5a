//! Which part of a photograph the network gets, and at which size.

use crate::{EngineError, Extractor, Result};
use r2former_data::DataError;
use r2former_data::image::{Rgb8, crop_input, decode_file};
use std::path::Path;

/// The largest ratio of sides for inputs in the photograph's own shape: beyond it, tokens do not fit into memory.
const MOST_ELONGATED: f64 = 8.0;

/// How a photograph becomes inputs of the network, where H x W is the model's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// All of it, resized to H x W whatever its shape.
    Whole,
    /// All of it in its own shape: the shorter side is min(H, W), the longer one the nearest multiple of the patch.
    OwnShape,
    /// The largest part of its middle that has the shape of H x W.
    CentralCrop,
    /// Five squares of min(H, W) after its shorter side is resized to that: upper left, upper right, lower left,
    /// lower right, middle.
    FiveCrops,
}

impl Framing {
    /// Number of inputs for each photograph.
    pub fn views(self) -> usize {
        match self {
            Self::FiveCrops => 5,
            Self::Whole | Self::OwnShape | Self::CentralCrop => 1,
        }
    }
}

/// An input of the network.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// `3 * height * width` values.
    pub values: Vec<f32>,
    /// Height and width in pixels.
    pub size: [usize; 2],
}

impl Extractor {
    /// Decodes a photograph into the inputs of every framing, one after the other.
    ///
    /// # Errors
    /// [`EngineError::Data`] for a file that is missing, no usable image, or too elongated for the framing.
    pub fn frame_file(&self, path: &Path, framings: &[Framing]) -> Result<Vec<View>> {
        let image = decode_file(path, self.limits())?;
        let framed = framings.iter().map(|framing| self.frame(&image, *framing));
        let framed = framed.collect::<Result<Vec<_>>>().map_err(|error| match error {
            EngineError::Data(DataError::Request(problem)) => DataError::image(path, problem).into(),
            other => other,
        })?;
        Ok(framed.into_iter().flatten().collect())
    }

    /// The inputs of one framing.
    ///
    /// # Errors
    /// [`EngineError::Data`] for an image without pixels, or too elongated for the framing.
    pub fn frame(&self, image: &Rgb8, framing: Framing) -> Result<Vec<View>> {
        let settings = self.settings();
        let model = [settings.height, settings.width];
        let short = settings.height.min(settings.width);
        let own = [image.height, image.width];
        let elongated = own[0].max(own[1]) as f64 / own[0].min(own[1]).max(1) as f64;
        if framing != Framing::Whole && elongated > MOST_ELONGATED {
            return Err(EngineError::Data(DataError::Request(format!(
                "is {} x {} pixels: in its own shape a side may be {MOST_ELONGATED} times the other; use hard_resize",
                image.width, image.height
            ))));
        }
        let resized = |size| -> Result<View> { Ok(View { values: self.prepare_at(image, size)?, size }) };
        let crop = |of: &View, corner, size| -> Result<View> {
            Ok(View { values: crop_input(&of.values, of.size, corner, size)?, size })
        };
        match framing {
            Framing::Whole => Ok(vec![resized(model)?]),
            Framing::OwnShape => {
                let step = self.config().size_step();
                Ok(vec![resized(with_shorter(own, short, |long| nearest_multiple(long, step)))?])
            }
            Framing::CentralCrop => {
                let scale = (model[0] as f64 / own[0] as f64).max(model[1] as f64 / own[1] as f64);
                let covering = [0, 1].map(|i| ((own[i] as f64 * scale) as usize).max(model[i]));
                let all = resized(covering)?;
                Ok(vec![crop(&all, middle(covering, model), model)?])
            }
            Framing::FiveCrops => {
                let size = with_shorter(own, short, |long| long as usize);
                let all = resized(size)?;
                let square = [short, short];
                let (lowest, rightmost) = (size[0] - short, size[1] - short);
                let corners =
                    [[0, 0], [0, rightmost], [lowest, 0], [lowest, rightmost], middle(size, square)];
                corners.into_iter().map(|corner| crop(&all, corner, square)).collect()
            }
        }
    }
}

/// The size in an image's own shape whose shorter side is `short`; `whole` makes the longer one whole.
fn with_shorter([height, width]: [usize; 2], short: usize, whole: impl Fn(f64) -> usize) -> [usize; 2] {
    let long = |of: usize, by: usize| whole(short as f64 * of as f64 / by.max(1) as f64).max(short);
    if height <= width { [short, long(width, height)] } else { [long(height, width), short] }
}

fn nearest_multiple(value: f64, step: usize) -> usize {
    (value / step as f64).round() as usize * step
}

/// Where a part begins in the middle of a whole; a half pixel goes to the even side, as in torchvision.
fn middle(whole: [usize; 2], part: [usize; 2]) -> [usize; 2] {
    [0, 1].map(|i| ((whole[i] - part[i]) as f64 / 2.0).round_ties_even() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_middles() {
        assert_eq!(with_shorter([1000, 1500], 480, |long| long as usize), [480, 720]);
        assert_eq!(with_shorter([4032, 3024], 480, |long| nearest_multiple(long, 16)), [640, 480]);
        // 480 x 1333.3: in patches of 16 the nearest multiple is 1328.
        assert_eq!(with_shorter([900, 2500], 480, |long| nearest_multiple(long, 16)), [480, 1328]);
        assert_eq!(with_shorter([10, 10], 32, |long| nearest_multiple(long, 16)), [32, 32]);
        assert_eq!(middle([480, 721], [480, 640]), [0, 40]);
        assert_eq!(middle([483, 643], [480, 640]), [2, 2]);
    }
}
