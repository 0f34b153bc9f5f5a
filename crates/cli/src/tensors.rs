//! Images given as tensors, already normalised: for holding this program against other code.
//!
//! `FILE.safetensors:NAME` names a tensor of shape `(n, 3, H, W)` or `(3, H, W)`; `FILE.safetensors:NAME:I`
//! its i-th image.

use crate::exit::usage;
use anyhow::{Context, Result, bail, ensure};
use safetensors::{Dtype, SafeTensors};
use std::path::{Path, PathBuf};

/// Images of one size.
pub(crate) struct TensorImages {
    /// Height and width.
    pub(crate) size: [usize; 2],
    /// One name an image.
    pub(crate) names: Vec<String>,
    /// `3 * H * W` values each.
    pub(crate) inputs: Vec<Vec<f32>>,
}

/// Reads tensors where the arguments name some; `None` where they are photographs.
///
/// # Errors
/// A tensor that is not there, has another shape or type, or photographs among tensors.
pub(crate) fn tensor_images(arguments: &[PathBuf]) -> Result<Option<TensorImages>> {
    let specs: Vec<Option<Spec>> = arguments.iter().map(|argument| Spec::parse(argument)).collect();
    if specs.iter().all(Option::is_none) {
        return Ok(None);
    }
    let mut all = TensorImages { size: [0, 0], names: Vec::new(), inputs: Vec::new() };
    for (argument, spec) in arguments.iter().zip(specs) {
        let Some(spec) = spec else {
            usage!("{}: photographs and tensors cannot be mixed in one call", argument.display());
        };
        let problem = || format!("{}", argument.display());
        spec.read(&mut all).with_context(problem)?;
    }
    Ok(Some(all))
}

struct Spec {
    file: PathBuf,
    tensor: String,
    index: Option<usize>,
}

impl Spec {
    fn parse(argument: &Path) -> Option<Self> {
        const MARK: &str = ".safetensors:";
        let text = argument.to_str()?;
        let at = text.find(MARK)? + MARK.len() - 1;
        let (file, rest) = (&text[..at], &text[at + 1..]);
        let (tensor, index) = match rest.rsplit_once(':').map(|(name, i)| (name, i.parse::<usize>())) {
            Some((name, Ok(index))) => (name, Some(index)),
            _ => (rest, None),
        };
        Some(Self { file: file.into(), tensor: tensor.to_string(), index })
    }

    fn read(&self, all: &mut TensorImages) -> Result<()> {
        let bytes = std::fs::read(&self.file)?;
        let file = SafeTensors::deserialize(&bytes).context("not a safetensors file")?;
        let Ok(view) = file.tensor(&self.tensor) else {
            bail!("holds no tensor '{}'; it holds {}", self.tensor, file.names().join(", "));
        };
        let (count, [height, width]) = match *view.shape() {
            [n, 3, h, w] => (n, [h, w]),
            [3, h, w] => (1, [h, w]),
            ref other => bail!("has shape {other:?}, expected (n, 3, H, W) or (3, H, W)"),
        };
        ensure!(view.dtype() == Dtype::F32, "holds {:?}, expected 32-bit floats", view.dtype());
        ensure!(
            all.inputs.is_empty() || all.size == [height, width],
            "is {height}x{width}, the images before are {}x{}",
            all.size[0],
            all.size[1]
        );
        all.size = [height, width];
        let values: Vec<f32> =
            view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        if let Some(bad) = values.iter().position(|v| !v.is_finite()) {
            bail!("value {bad} is {}, not a finite number", values[bad]);
        }
        let chosen = match self.index {
            Some(index) if index < count => index..index + 1,
            Some(index) => bail!("has {count} images, so there is no image {index} (they count from 0)"),
            None => 0..count,
        };
        let area = 3 * height * width;
        for i in chosen {
            all.names.push(format!("{}:{}:{i}", self.file.display(), self.tensor));
            all.inputs.push(values[i * area..(i + 1) * area].to_vec());
        }
        Ok(())
    }
}
