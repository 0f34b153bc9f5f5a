//! Which part of a photograph the network gets, and at which size.

use crate::{EngineError, Extractor, Result};
use r2former_data::DataError;
use r2former_data::image::{Rgb8, crop_input, decode_bytes, to_input};
use r2former_model::Placement;
use std::path::Path;

/// The largest ratio of sides for inputs in the photograph's own shape: beyond it, tokens do not fit into memory.
const MOST_ELONGATED: f64 = 8.0;

/// How a photograph becomes inputs of the network, where H x W is the model's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// As the settings say: all of it, resized to H x W whatever its shape, or to a size by their rule.
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
    /// Decodes a photograph into the network's input.
    ///
    /// # Errors
    /// [`EngineError::Data`] for a file that is missing, no usable image, or of a shape that the network cannot take.
    pub fn prepare_file(&self, path: &Path) -> Result<View> {
        self.prepare(&self.decode_path(path)?).map_err(|error| named(path, error))
    }

    /// The pixels of a photograph, wherever its bytes are.
    fn decode_path(&self, path: &Path) -> Result<Rgb8> {
        let (bytes, _) = self.files().read(path, self.limits())?;
        Ok(decode_bytes(&bytes, path, self.limits())?)
    }

    /// Resizes and normalises pixels into the network's input.
    ///
    /// # Errors
    /// [`EngineError::Data`] for an image without pixels, or of a shape that the network cannot take.
    pub fn prepare(&self, image: &Rgb8) -> Result<View> {
        let Placement { resized, corner, size } = self.place([image.height, image.width]);
        if self.settings().rule.is_some()
            && let Err(problem) = self.config().check_size(size[0], size[1])
        {
            return Err(EngineError::Data(DataError::Request(format!(
                "is {} x {} pixels, which do not suit the network at this image size ({}): {problem}",
                image.width,
                image.height,
                self.settings().image_size()
            ))));
        }
        let view = self.resized(image, resized)?;
        if resized == size {
            return Ok(view);
        }
        Ok(View { values: crop_input(&view.values, resized, corner, size)?, size })
    }

    /// Where the network sees a photograph of this height and width.
    pub fn place(&self, photograph: [usize; 2]) -> Placement {
        self.config().place(self.settings().image_size(), photograph)
    }

    /// All of an image at a size (height, width).
    fn resized(&self, image: &Rgb8, size: [usize; 2]) -> Result<View> {
        Ok(View { values: to_input(image, size[0], size[1], self.preprocess())?, size })
    }

    /// Decodes a photograph into the inputs of every framing, one after the other.
    ///
    /// # Errors
    /// [`EngineError::Data`] for a file that is missing, no usable image, or too elongated for the framing.
    pub fn frame_file(&self, path: &Path, framings: &[Framing]) -> Result<Vec<View>> {
        let image = self.decode_path(path)?;
        let framed = framings.iter().map(|framing| self.frame(&image, *framing));
        let framed = framed.collect::<Result<Vec<_>>>().map_err(|error| named(path, error))?;
        Ok(framed.into_iter().flatten().collect())
    }

    /// The inputs of one framing.
    ///
    /// # Errors
    /// [`EngineError::Data`] for an image without pixels, or too elongated for the framing; [`EngineError::Request`] for
    /// framings of H x W where the size follows from a rule.
    pub fn frame(&self, image: &Rgb8, framing: Framing) -> Result<Vec<View>> {
        if framing == Framing::Whole {
            return Ok(vec![self.prepare(image)?]);
        }
        let settings = self.settings();
        if settings.rule.is_some() {
            return Err(EngineError::Request(format!(
                "the image size is {}, by which a photograph is seen in its own shape: only hard_resize, which leaves it so, \
                 goes with that",
                settings.image_size()
            )));
        }
        let model = [settings.height, settings.width];
        let short = settings.height.min(settings.width);
        let own = [image.height, image.width];
        let elongated = own[0].max(own[1]) as f64 / own[0].min(own[1]).max(1) as f64;
        if elongated > MOST_ELONGATED {
            return Err(EngineError::Data(DataError::Request(format!(
                "is {} x {} pixels: in its own shape a side may be {MOST_ELONGATED} times the other; use hard_resize",
                image.width, image.height
            ))));
        }
        let resized = |size| self.resized(image, size);
        let crop = |of: &View, corner, size| -> Result<View> {
            Ok(View { values: crop_input(&of.values, of.size, corner, size)?, size })
        };
        match framing {
            Framing::Whole => Ok(vec![self.prepare(image)?]),
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

/// An error of an image, with its name.
pub(crate) fn named(path: &Path, error: EngineError) -> EngineError {
    match error {
        EngineError::Data(DataError::Request(problem)) => DataError::image(path, problem).into(),
        other => other,
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
