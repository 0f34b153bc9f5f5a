//! Checkpoints of other projects become models of this one.
//!
//! Published R2Former files (`.pth`, full and global-only), DeiT, timm and DINOv2 transformers
//! (`.pth`, `.safetensors`) and torchvision's ResNet-50. Every tensor is accounted for: it is
//! used, listed as a known leftover, or an error names it. Pickles are parsed, never executed.

mod names;
mod published;
mod read;
mod resnet;
mod vit;

use crate::weights::{TensorReader, Tensors};
use crate::{ModelConfig, ModelError, Pooling, R2Former, ResizeMode, Result};
use burn::tensor::Device;
use std::path::Path;

/// What cannot be read off the tensors; `None` takes the usual value.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// A name for people; the file's own by default.
    pub name: Option<String>,
    /// Attention heads of the backbone; one for every 64 channels by default, at least 3.
    pub heads: Option<usize>,
    /// Local features kept an image; what the reranker was built for, else 500.
    pub local_count: Option<usize>,
    /// Image height and width; the position embedding's own by default.
    pub image_size: Option<[usize; 2]>,
    /// Rows and columns of the position embedding; a square or 3:4 by default.
    pub grid: Option<[usize; 2]>,
    /// Pooling when there is no trained global head.
    pub pooling: Option<Pooling>,
    /// Mean and standard deviation of the normalisation, for all three channels.
    pub normalisation: Option<Normalisation>,
    /// The resize that the model was evaluated with.
    pub resize: Option<ResizeMode>,
    /// Neighbours of the reranker; 5 by default.
    pub neighbours: Option<usize>,
}

/// The two usual normalisations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normalisation {
    /// Mean (.485, .456, .406), standard deviation (.229, .224, .225).
    ImageNet,
    /// Mean .5, standard deviation .5.
    Half,
}

impl Normalisation {
    fn values(self) -> ([f32; 3], [f32; 3]) {
        match self {
            Self::ImageNet => ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            Self::Half => ([0.5; 3], [0.5; 3]),
        }
    }
}

impl std::str::FromStr for Normalisation {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "imagenet" => Ok(Self::ImageNet),
            "half" => Ok(Self::Half),
            other => Err(format!("{other} is not a normalisation: imagenet or half")),
        }
    }
}

/// A model made from another project's file.
#[derive(Debug, Clone)]
pub struct Imported {
    /// What it is.
    pub config: ModelConfig,
    /// Its parameters, by this project's names.
    pub tensors: Tensors,
    /// Tensors of the file that the method does not use.
    pub leftovers: Vec<String>,
    /// What was assumed, and what the model can and cannot do.
    pub notes: Vec<String>,
}

/// The three layouts that are told apart by their names.
struct Draft {
    config: ModelConfig,
    tensors: Tensors,
    leftovers: Vec<String>,
    notes: Vec<String>,
}

/// Reads `path` and turns it into a model.
///
/// # Errors
/// A file that cannot be read, an architecture that is not known, or tensors that do not fit it:
/// each is named.
pub fn import(path: &Path, options: &ImportOptions) -> Result<Imported> {
    let file = read::read(path)?;
    let name = options.name.clone().unwrap_or_else(|| {
        path.file_stem().map_or_else(|| "model".into(), |stem| stem.to_string_lossy().into_owned())
    });
    let at_file = |e: ModelError| match e {
        ModelError::Config(problem) => ModelError::checkpoint(path, problem),
        other => other,
    };
    let mut draft = if names::is_resnet(&file.tensors) {
        resnet::draft(file, options)
    } else if names::is_published(&file.tensors) {
        published::draft(file, options)
    } else if names::is_vit(&file.tensors) {
        vit::draft(file, options)
    } else {
        let some: Vec<&str> = file.tensors.keys().take(5).map(String::as_str).collect();
        Err(ModelError::Config(format!(
            "holds no architecture that is known here (R2Former, DeiT, timm ViT, DINOv2, ResNet-50); its {} tensors start with {}",
            file.tensors.len(),
            some.join(", ")
        )))
    }
    .map_err(at_file)?;
    draft.config.name = name;
    complete(&mut draft).map_err(at_file)?;
    // Building the network is what checks names and shapes.
    R2Former::from_tensors(&draft.config, draft.tensors.clone(), &Device::flex()).map_err(|e| match e {
        ModelError::Tensors(list) => ModelError::checkpoint(path, ModelError::Tensors(list).to_string()),
        other => at_file(other),
    })?;
    let Draft { config, tensors, leftovers, notes } = draft;
    Ok(Imported { config, tensors, leftovers, notes })
}

/// Gives an untrained local head and reranker to a backbone that came without them.
fn complete(draft: &mut Draft) -> Result<()> {
    draft.config.validate()?;
    let trained = draft.config.trained;
    if trained.local || draft.config.local.is_none() {
        return Ok(());
    }
    const SEED: u64 = 0;
    let mut fresh = TensorReader::random(SEED, &Device::flex());
    draft.tensors.extend(R2Former::heads_without_pretraining(&draft.config, &mut fresh)?);
    Ok(())
}
