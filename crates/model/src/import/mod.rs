//! Conversion of other projects' checkpoints: published R2Former files (`.pth`, full and global-only), DeiT, timm,
//! DINOv2 and DINOv3 transformers (also as a downloaded folder of `config.json` and `model.safetensors`), DINOv2 with
//! a learned aggregation (MegaLoc, DINOv2-SALAD, CliqueMining, BoQ), with adapters (CricaVPR, SelaVPR, SelaVPR++) or with a
//! vocabulary (AnyLoc), torchvision's ResNets, CosPlace, EigenPlaces, MixVPR, BoQ over a ResNet, the NetVLAD of Patch-NetVLAD
//! (`.pth`, `.ckpt`, `.torch` or `.safetensors`) and of hloc (`.mat`).
//!
//! Every tensor of a file is either used, listed in [`Imported::leftovers`], or named in an error. Pickles are parsed,
//! never executed. `examples/import_and_run.rs` imports a file and runs the model.

mod adapters;
mod aggregated;
mod anyloc;
mod archive;
mod boq;
mod cnn;
mod dinov3;
mod folder;
mod hloc;
mod local;
mod matlab;
mod names;
mod published;
mod read;
mod resnet;
mod transformers;
mod unsupported;
mod vit;

use crate::catalog::Published;
pub use local::{LocalDim, LocalOptions, LocalPreset, description};

use crate::config::FORMAT;
use crate::weights::{TensorReader, Tensors};
use crate::{
    BackboneConfig, GlobalConfig, ImageSize, InputConfig, ModelConfig, ModelError, Pooling, PositionMode,
    Precision, R2Former, ResizeMode, Result, Trained,
};
use burn::tensor::Device;
use std::path::{Path, PathBuf};

/// Properties that tensors do not determine; `None` selects the default.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ImportOptions {
    /// Display name; the file name without extension by default.
    pub name: Option<String>,
    /// Attention heads of the backbone; by default one per 64 channels, at least 3.
    pub heads: Option<usize>,
    /// Local features; by default what the file's reranker was built for, else those that suit the backbone.
    pub local: LocalOptions,
    /// Image size; by default as each model was evaluated, else that of the position embedding, or 480 x 640 for a convolutional
    /// network.
    pub image_size: Option<ImageSize>,
    /// Rows and columns of the position embedding; by default a square or a 3:4 grid with the right number of cells.
    pub grid: Option<[usize; 2]>,
    /// Pooling of a model without a trained global head; GeM by default.
    pub pooling: Option<Pooling>,
    /// Mean and standard deviation; by default as in the training of the backbone.
    pub normalisation: Option<Normalisation>,
    /// Resize mode; by default direct for published R2Former files, antialiased otherwise.
    pub resize: Option<ResizeMode>,
    /// How a position embedding is fitted to other image sizes; by default as the code to which the file belongs does.
    pub position: Option<PositionMode>,
    /// Cluster centres in a file of their own, over a transformer's values (AnyLoc).
    pub vocabulary: Option<PathBuf>,
    /// The block, from 0, of whose values `vocabulary` is; by default as in its name, else 31.
    pub layer: Option<usize>,
    /// Best matches per local feature in the reranker; 5 by default.
    pub neighbours: Option<usize>,
}

/// The common normalisations of pixel values in 0..1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normalisation {
    /// Mean (.485, .456, .406), standard deviation (.229, .224, .225).
    ImageNet,
    /// Mean .5, standard deviation .5.
    Half,
    /// DINOv3's for satellite photographs: mean (.430, .411, .296), standard deviation (.213, .156, .143).
    Satellite,
}

impl Normalisation {
    const ALL: [Self; 3] = [Self::ImageNet, Self::Half, Self::Satellite];

    fn values(self) -> ([f32; 3], [f32; 3]) {
        match self {
            Self::ImageNet => ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            Self::Half => ([0.5; 3], [0.5; 3]),
            Self::Satellite => ([0.430, 0.411, 0.296], [0.213, 0.156, 0.143]),
        }
    }
}

impl std::str::FromStr for Normalisation {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "imagenet" => Ok(Self::ImageNet),
            "half" => Ok(Self::Half),
            "satellite" => Ok(Self::Satellite),
            other => Err(format!("{other} is not a normalisation: imagenet, half or satellite")),
        }
    }
}

impl ImportOptions {
    /// Whether nothing is asked for.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Preprocessing: what is asked for, and otherwise these defaults.
    fn input(&self, normalisation: Normalisation, size: [usize; 2], resize: ResizeMode) -> InputConfig {
        let (mean, std) = self.normalisation.unwrap_or(normalisation).values();
        let (height, width, rule) = match self.image_size {
            None => (size[0], size[1], None),
            Some(ImageSize::Fixed([height, width])) => (height, width, None),
            // Height and width follow once the network is known.
            Some(ImageSize::Rule(rule)) => (size[0], size[1], Some(rule)),
        };
        InputConfig { height, width, rule, mean, std, resize: self.resize.unwrap_or(resize) }
    }
}

/// An imported model.
#[derive(Debug, Clone)]
pub struct Imported {
    /// Architecture, preprocessing and provenance.
    pub config: ModelConfig,
    /// Parameters by name, as in a [`Checkpoint`](crate::Checkpoint).
    pub tensors: Tensors,
    /// Known tensors of the file that the model does not use, such as a classifier.
    pub leftovers: Vec<String>,
    /// Assumptions, and limits of the model.
    pub notes: Vec<String>,
}

/// An import before its untrained parts are added.
struct Draft {
    config: ModelConfig,
    tensors: Tensors,
    leftovers: Vec<String>,
    notes: Vec<String>,
}

/// Imports the checkpoint at `path`. Parts that it lacks are randomly initialised and marked in
/// [`ModelConfig::trained`].
///
/// # Errors
/// [`ModelError::Io`] if the file cannot be read; [`ModelError::Checkpoint`] naming the file and each tensor that is
/// missing, unexpected or of the wrong shape, or if the format or architecture is not supported.
pub fn import(path: &Path, options: &ImportOptions) -> Result<Imported> {
    let file = read::read(path)?;
    let name = options.name.clone().unwrap_or_else(|| {
        path.file_stem().map_or_else(|| "model".into(), |stem| stem.to_string_lossy().into_owned())
    });
    let aggregated = aggregated::recognise(&file.tensors);
    let renamed = transformers::recognise(&file.tensors);
    let naming: Box<dyn Fn(String) -> String> = match aggregated {
        Some(published) => Box::new(aggregated::naming(published, &file.tensors)),
        None if renamed => Box::new(transformers::naming(&file.tensors)),
        None => Box::new(cnn::naming(&file.tensors)),
    };
    let at_file = |e: ModelError| match e {
        ModelError::Config(problem) if aggregated.is_some() || renamed => {
            ModelError::checkpoint(path, naming(problem))
        }
        ModelError::Config(problem) => ModelError::checkpoint(path, problem),
        other => other,
    };
    let mut draft = if let Some(error) = unsupported::named(&file.tensors) {
        Err(error)
    } else if let Some(published) = aggregated {
        aggregated::draft(published, file, options)
    } else if let Some(layout) = cnn::layout(&file.tensors) {
        cnn::draft(layout, file, options)
    } else if hloc::recognise(&file.tensors) {
        hloc::draft(file, options)
    } else if names::is_resnet(&file.tensors) {
        resnet::draft(file, options)
    } else if names::is_published(&file.tensors) {
        published::draft(file, options)
    } else if names::is_vit(&file.tensors) {
        vit::draft(file, options)
    } else if anyloc::is_vocabulary(&file.tensors) {
        Err(anyloc::refuse_vocabulary(&file.tensors))
    } else {
        let some: Vec<&str> = file.tensors.keys().take(5).map(String::as_str).collect();
        Err(ModelError::Config(format!(
            "holds no supported architecture (R2Former, DeiT, timm ViT, DINOv2, DINOv3, MegaLoc, SALAD, BoQ, ResNet, CosPlace, EigenPlaces, MixVPR, Patch-NetVLAD, hloc's NetVLAD, CricaVPR, SelaVPR, SelaVPR++, AnyLoc); its {} tensors start with {}",
            file.tensors.len(),
            some.join(", ")
        )))
    }
    .map_err(at_file)?;
    if let Some(vocabulary) = &options.vocabulary {
        draft = anyloc::draft(draft, vocabulary, options).map_err(at_file)?;
    }
    draft.config.name = name;
    if let Some(note) = local::add(&mut draft.config, &options.local).map_err(at_file)? {
        draft.notes.push(note);
    }
    // Only now is known what sizes the network takes.
    draft.config.set_image_size(draft.config.input.image_size())?;
    if draft.config.local.is_some() {
        draft.notes.retain(|note| note != GLOBAL_ONLY);
    }
    complete(&mut draft).map_err(at_file)?;
    // The network's own reading of tensors checks names and shapes.
    R2Former::check(&draft.config, &draft.tensors).map_err(|e| match e {
        ModelError::Tensors(list) => {
            let list = list.into_iter().map(&naming).collect();
            ModelError::checkpoint(path, ModelError::Tensors(list).to_string())
        }
        other => at_file(other),
    })?;
    let Draft { config, tensors, leftovers, notes } = draft;
    Ok(Imported { config, tensors, leftovers, notes })
}

/// Writes where a published model comes from, and what is said of the licences of code and weights, into its provenance.
fn state_origin(provenance: &mut serde_json::Value, row: &Published) {
    provenance["origin"] = row.origin().into();
    provenance["code_license"] = row.code_license.into();
    provenance["license"] = row.weights_license.into();
}

/// The configuration of a published model with a trained descriptor and no reranker.
fn global_only(
    backbone: BackboneConfig,
    global: GlobalConfig,
    input: InputConfig,
    row: &Published,
    mut provenance: serde_json::Value,
) -> ModelConfig {
    state_origin(&mut provenance, row);
    ModelConfig {
        format: FORMAT,
        name: String::new(),
        backbone,
        global,
        local: None,
        reranker: None,
        input,
        precision: Precision::F32,
        trained: Trained { global: true, local: false, reranker: false },
        provenance,
        calibration: None,
        checks: Vec::new(),
        reranker_check: None,
    }
}

/// The note of such a model.
const GLOBAL_ONLY: &str = "a global-only model: no local features, no reranking";

/// Adds a randomly initialised local head and reranker to a backbone without them.
fn complete(draft: &mut Draft) -> Result<()> {
    draft.config.validate()?;
    let trained = draft.config.trained;
    if trained.local || draft.config.local.is_none() {
        return Ok(());
    }
    const SEED: u64 = 0;
    let mut random = TensorReader::random(SEED, &Device::flex());
    for (name, tensor) in R2Former::heads_without_pretraining(&draft.config, &mut random)? {
        draft.tensors.entry(name).or_insert(tensor);
    }
    Ok(())
}
