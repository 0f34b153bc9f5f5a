//! DINOv2 with a learned aggregation, as published: MegaLoc, DINOv2-SALAD and CliqueMining, BoQ; BoQ over a ResNet; DINOv2 with
//! adapters: CricaVPR, SelaVPR, SelaVPR++.

use super::read::SourceFile;
use super::{Draft, GLOBAL_ONLY, ImportOptions, Normalisation, adapters, boq, cnn, global_only, names, vit};
use crate::catalog;
use crate::weights::Tensors;
use crate::{
    BackboneConfig, GlobalConfig, ModelError, PositionMode, ResNetConfig, ResizeMode, Result, SaladConfig,
    VitConfig,
};
use std::collections::BTreeMap;

/// What a file of one of these models is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Published {
    MegaLoc,
    Salad,
    Boq,
    BoqResNet,
    CricaVpr,
    SelaVpr,
    SelaVprPlus,
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
    let adapted = adapters::recognise(names());
    if adapted.is_some() {
        adapted
    } else if any("aggregator.agg.") {
        Some(Published::MegaLoc)
    } else if any("aggregator.score.") || any("aggregator.cluster_features.") {
        Some(Published::Salad)
    } else if any("aggregator.boqs.") {
        Some(if any("backbone.net.") { Published::BoqResNet } else { Published::Boq })
    } else {
        None
    }
}

impl Published {
    /// How the published evaluation resizes photographs: MegaLoc and BoQ tensors, SALAD PIL's images.
    fn resize(self) -> ResizeMode {
        match self {
            Self::MegaLoc | Self::CricaVpr | Self::SelaVpr | Self::SelaVprPlus => ResizeMode::TensorBilinear,
            Self::Salad => ResizeMode::Antialias,
            Self::Boq | Self::BoqResNet => ResizeMode::TensorBicubic,
        }
    }

    /// The model that the file is. CliqueMining is published as the state of a training run, DINOv2-SALAD as bare weights.
    fn row(self, nested: bool) -> &'static catalog::Published {
        match self {
            Self::MegaLoc => &catalog::MEGALOC,
            Self::Salad if nested => &catalog::SALAD_RUN,
            Self::Salad => &catalog::SALAD,
            Self::Boq => &catalog::BOQ,
            Self::BoqResNet => &catalog::BOQ_RESNET,
            Self::CricaVpr => &catalog::CRICAVPR,
            Self::SelaVpr => &catalog::SELAVPR,
            Self::SelaVprPlus => &catalog::SELAVPR_PLUS,
        }
    }

    /// From stems of the published names to this program's; the first that fits counts.
    fn rules(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::MegaLoc => &[
                ("backbone.model.", "backbone."),
                ("aggregator.agg.", "aggregator."),
                ("aggregator.linear.", "aggregator.linear."),
            ],
            Self::Salad => &[("backbone.model.", "backbone.")],
            Self::Boq => &[("backbone.dino.", "backbone.")],
            Self::CricaVpr => {
                &[("aggregation.1.p", "aggregator.p"), ("encoder.layers.", "aggregator.layers.")]
            }
            Self::SelaVpr => &[("aggregation.1.p", "aggregator.p")],
            Self::SelaVprPlus => &[
                ("aggregation.1.p", "aggregator.p"),
                ("linear1.", "aggregator.project."),
                ("linear2.", "aggregator.head."),
            ],
            Self::BoqResNet => &[
                ("backbone.net.0.", "backbone.conv1."),
                ("backbone.net.1.", "backbone.bn1."),
                ("backbone.net.4.", "backbone.layer1."),
                ("backbone.net.5.", "backbone.layer2."),
                ("backbone.net.6.", "backbone.layer3."),
                ("backbone.net.7.", "backbone.layer4."),
            ],
        }
    }
}

/// A function that puts the file's own names into problems, which begin with this program's.
pub(super) fn naming(published: Published, tensors: &Tensors) -> impl Fn(String) -> String + use<> {
    let wrapper = wrapper(tensors).to_string();
    let rules = published.rules();
    let names = || tensors.keys().map(|name| &name[wrapper.len()..]);
    let present: BTreeMap<String, String> =
        names().map(|name| (names::renamed(name, rules), name.to_string())).collect();
    // Of two layouts with the same names here, that of the file.
    let in_file = |stem: &str| names().any(|name| name.starts_with(stem));
    let rules: Vec<_> = rules.iter().filter(|(theirs, ours)| in_file(theirs) || !in_file(ours)).collect();
    move |problem| {
        let (ours, rest) = problem.split_at(problem.find([':', ' ']).unwrap_or(problem.len()));
        // The longer stem is the more particular one.
        let stems = || rules.iter().filter(|(_, stem)| ours.starts_with(stem));
        let missing = || {
            let (theirs, stem) = stems().max_by_key(|(_, stem)| stem.len())?;
            Some(format!("{theirs}{}", &ours[stem.len()..]))
        };
        if !ours.contains('.') {
            return problem;
        }
        let theirs = present.get(ours).cloned().or_else(missing).unwrap_or_else(|| ours.to_string());
        // BoQ's import changes the name of this part alone.
        format!("{wrapper}{}{rest}", theirs.replace(".in_proj.", ".in_proj_"))
    }
}

pub(super) fn draft(published: Published, file: SourceFile, options: &ImportOptions) -> Result<Draft> {
    let wrapper = wrapper(&file.tensors).to_string();
    let mut tensors = names::rename(file.tensors, &[(&wrapper, "")]);
    // BoQ keeps DINOv2's final norm in its file and does not use it.
    let final_norm = published != Published::Boq;
    let mut leftovers = names::set_aside(&mut tensors, |name| {
        name.ends_with(".num_batches_tracked") || adapters::is_unused(published, name)
    });
    for stem in ["backbone.model.", "backbone.dino.", "backbone."] {
        leftovers.extend(names::set_aside(&mut tensors, |name| match name.strip_prefix(stem) {
            Some("mask_token") => true,
            Some("norm.weight" | "norm.bias") => !final_norm,
            _ => false,
        }));
    }
    let mut tensors = names::rename(tensors, published.rules());
    let (mut backbone, size) = match published {
        Published::BoqResNet => (BackboneConfig::ResNet(cut_resnet(&tensors)?), [384, 384]),
        Published::CricaVpr | Published::SelaVpr => {
            (BackboneConfig::Vit(dinov2(&tensors, final_norm, options)?), [224, 224])
        }
        _ => (BackboneConfig::Vit(dinov2(&tensors, final_norm, options)?), [322, 322]),
    };
    let mut adapted = None;
    if let BackboneConfig::Vit(vit) = &mut backbone
        && let Some((adapters, global)) = adapters::parts(published, &mut tensors, vit)?
    {
        // Their copies of DINOv2 keep its first rule of positions with registers, too.
        (vit.adapters, vit.position) = (Some(adapters), PositionMode::Dinov2);
        adapted = Some(global);
    }
    let global = match (adapted, published) {
        (Some(global), _) => global,
        (None, Published::MegaLoc | Published::Salad) => {
            GlobalConfig::Salad(salad(&mut tensors, published == Published::MegaLoc)?)
        }
        (None, _) => GlobalConfig::Boq(boq::fold(&mut tensors)?),
    };
    let input = options.input(Normalisation::ImageNet, size, published.resize());
    let config = global_only(backbone, global, input, published.row(file.nested), file.provenance);
    let notes = [Some(GLOBAL_ONLY.to_string()), adapters::note(published)].into_iter().flatten().collect();
    Ok(Draft { config, tensors, leftovers, notes })
}

/// All of them run the hub's DINOv2 models, or a copy with the same rule of positions.
fn dinov2(tensors: &Tensors, final_norm: bool, options: &ImportOptions) -> Result<VitConfig> {
    let mut vit = vit::architecture(tensors, "backbone.", Vec::new(), options)?;
    vit.position = vit::position(&vit);
    vit.final_norm = final_norm;
    Ok(vit)
}

/// BoQ's ResNet, without its last stage.
fn cut_resnet(tensors: &Tensors) -> Result<ResNetConfig> {
    if tensors.keys().any(|name| name.starts_with("backbone.layer4.")) {
        return Err(ModelError::Config(
            "is a BoQ model over a ResNet's layer4, which is not supported".into(),
        ));
    }
    cnn::resnet(tensors, 3)
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
