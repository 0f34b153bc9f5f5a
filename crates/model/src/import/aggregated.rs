//! DINOv2 with a learned aggregation, as published: MegaLoc, DINOv2-SALAD and CliqueMining, BoQ.

use super::read::SourceFile;
use super::{Draft, GLOBAL_ONLY, ImportOptions, Normalisation, Origin, boq, global_only, names, vit};
use crate::weights::Tensors;
use crate::{BackboneConfig, GlobalConfig, ModelError, PositionMode, ResizeMode, Result, SaladConfig};

/// What a file of one of these models is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Published {
    MegaLoc,
    Salad,
    Boq,
}

/// Names that a wrapper of the whole network puts before every name.
const WRAPPERS: [&str; 2] = ["module.", "model."];

/// The prefix of wrappers that every name has.
fn wrapper(tensors: &Tensors) -> &str {
    let Some(first) = tensors.keys().next() else { return "" };
    let mut length = 0;
    while let Some(next) = WRAPPERS.iter().find(|next| first[length..].starts_with(*next)) {
        let longer = &first[..length + next.len()];
        if !tensors.keys().all(|name| name.starts_with(longer)) {
            break;
        }
        length = longer.len();
    }
    &first[..length]
}

/// Which of the models the tensors belong to. Some of a part's tensors suffice, so that the error for a file without the
/// others names them.
pub(super) fn recognise(tensors: &Tensors) -> Option<Published> {
    let wrapper = wrapper(tensors);
    let names = || tensors.keys().filter_map(|name| name.strip_prefix(wrapper));
    let any = |stem: &str| names().any(|name| name.starts_with(stem));
    if any("aggregator.agg.") {
        Some(Published::MegaLoc)
    } else if any("aggregator.score.") || any("aggregator.cluster_features.") {
        Some(Published::Salad)
    } else if any("aggregator.boqs.") && !any("backbone.net.") {
        Some(Published::Boq)
    } else {
        None
    }
}

impl Published {
    /// How the published evaluation resizes photographs: MegaLoc and BoQ tensors, SALAD PIL's images.
    fn resize(self) -> ResizeMode {
        match self {
            Self::MegaLoc => ResizeMode::TensorBilinear,
            Self::Salad => ResizeMode::Antialias,
            Self::Boq => ResizeMode::TensorBicubic,
        }
    }

    /// Where the file comes from, and what licences say of code and weights.
    fn origin(self, nested: bool) -> Origin {
        match self {
            Self::MegaLoc => Origin {
                name: "MegaLoc (Berton and Masone, 2025): github.com/gmberton/MegaLoc, huggingface.co/gberton/MegaLoc",
                code_license: "MIT",
                weights_license: "published with MIT-licensed code; the licences of the training data apply, too",
            },
            // CliqueMining is published as the state of a training run, DINOv2-SALAD as bare weights.
            Self::Salad if nested => Origin {
                name: "a training checkpoint of the layout of DINOv2-SALAD, such as CliqueMining (Izquierdo and Civera, ECCV \
                 2024): github.com/serizba/cliquemining",
                code_license: "not stated",
                weights_license: "not stated",
            },
            Self::Salad => Origin {
                name: "DINOv2-SALAD (Izquierdo and Civera, CVPR 2024): github.com/serizba/salad",
                code_license: "GPL-3.0",
                weights_license: "published with GPL-3.0-licensed code; no licence of the weights alone is stated",
            },
            Self::Boq => Origin {
                name: "BoQ (Ali-bey, Chaib-draa and Giguère, CVPR 2024): github.com/amaralibey/Bag-of-Queries",
                code_license: "MIT",
                weights_license: "published with MIT-licensed code; the licences of the training data apply, too",
            },
        }
    }
}

pub(super) fn draft(published: Published, file: SourceFile, options: &ImportOptions) -> Result<Draft> {
    let wrapper = wrapper(&file.tensors).to_string();
    let mut tensors = names::rename(file.tensors, &[(&wrapper, "")]);
    let final_norm = published != Published::Boq;
    let mut leftovers = Vec::new();
    // BoQ keeps DINOv2's final norm in its file and does not use it.
    for stem in ["backbone.model.", "backbone.dino.", "backbone."] {
        leftovers.extend(names::set_aside(&mut tensors, |name| match name.strip_prefix(stem) {
            Some("mask_token") => true,
            Some("norm.weight" | "norm.bias") => !final_norm,
            _ => false,
        }));
    }
    let mut tensors =
        names::rename(tensors, &[("backbone.model.", "backbone."), ("backbone.dino.", "backbone.")]);
    let backbone: Tensors = names::under(&tensors, "backbone.");
    let mut vit = vit::architecture(&backbone, options)?;
    drop(backbone);
    // All of them run the hub's DINOv2 models without registers, or a copy with the same rule.
    vit.position = if vit.registers == 0 { PositionMode::Dinov2 } else { PositionMode::Antialias };
    vit.final_norm = final_norm;
    let global = match published {
        Published::MegaLoc | Published::Salad => {
            tensors = names::rename(tensors, &[("aggregator.agg.", "aggregator.")]);
            GlobalConfig::Salad(salad(&mut tensors, published == Published::MegaLoc)?)
        }
        Published::Boq => GlobalConfig::Boq(boq::fold(&mut tensors)?),
    };
    let input = options.input(Normalisation::ImageNet, [322, 322], published.resize());
    let origin = published.origin(file.nested);
    let config = global_only(BackboneConfig::Vit(vit), global, input, &origin, file.provenance);
    Ok(Draft { config, tensors, leftovers, notes: vec![GLOBAL_ONLY.into()] })
}

/// Sizes of SALAD from the shapes of its tensors.
fn salad(tensors: &mut Tensors, linear: bool) -> Result<SaladConfig> {
    let rows = |name: &str| {
        names::rows(tensors, name).ok_or_else(|| ModelError::Config(format!("{name} is missing or a scalar")))
    };
    let config = SaladConfig {
        clusters: rows("aggregator.score.3.weight")?,
        dim: rows("aggregator.cluster_features.3.weight")?,
        token: rows("aggregator.token_features.2.weight")?,
        hidden: rows("aggregator.score.0.weight")?,
        linear: if linear { Some(rows("aggregator.linear.weight")?) } else { None },
    };
    // A scalar in the published files.
    if let Some(dust_bin) = tensors.get_mut("aggregator.dust_bin")
        && dust_bin.shape.is_empty()
    {
        dust_bin.shape = vec![1];
    }
    Ok(config)
}
