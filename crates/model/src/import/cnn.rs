//! Published descriptors of convolutional networks: CosPlace and EigenPlaces, MixVPR.

use super::read::SourceFile;
use super::{Draft, GLOBAL_ONLY, ImportOptions, Normalisation, global_only, names};
use crate::catalog::{self, Published};
use crate::weights::Tensors;
use crate::{
    BackboneConfig, GlobalConfig, MixVprConfig, ModelError, NetVladConfig, Pooling, ResNetConfig, ResizeMode,
    Result,
};

/// What a file holds, by the names of its tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// CosPlace or EigenPlaces: the networks are identical.
    GemLinear,
    /// MixVPR.
    MixVpr,
    /// Patch-NetVLAD.
    PatchNetVlad,
}

/// From a stem of the published names to this program's.
type Rules = &'static [(&'static str, &'static str)];

const GEM_RESNET: Rules = &[
    ("backbone.0.", "backbone.conv1."),
    ("backbone.1.", "backbone.bn1."),
    ("backbone.4.", "backbone.layer1."),
    ("backbone.5.", "backbone.layer2."),
    ("backbone.6.", "backbone.layer3."),
    ("backbone.7.", "backbone.layer4."),
    ("aggregation.1.p", "gem.p"),
    ("aggregation.3.", "head."),
];
const GEM_VGG: Rules = &[("aggregation.1.p", "gem.p"), ("aggregation.3.", "head.")];
const MIX_VPR: Rules = &[("backbone.model.", "backbone.")];
const PATCH_NET_VLAD: Rules = &[
    ("encoder.", "backbone."),
    ("pool.conv.weight", "aggregator.assign"),
    ("pool.centroids", "aggregator.centroids"),
    ("WPCA.0.", "aggregator.whitening."),
];

/// Prefix of names saved from `DataParallel`.
const PARALLEL: &str = "module.";

/// The layout of a file's names; `None` if it is another model's. One tensor of the aggregation suffices, so that errors
/// name the missing ones.
pub(super) fn layout(tensors: &Tensors) -> Option<Layout> {
    let any = |stem: &str| tensors.keys().any(|name| plain(name).starts_with(stem));
    if any("aggregation.1.p") || any("aggregation.3.") {
        return Some(Layout::GemLinear);
    }
    if any("aggregator.mix.") && any("backbone.model.") {
        return Some(Layout::MixVpr);
    }
    ((any("pool.centroids") || any("pool.conv.")) && any("encoder.")).then_some(Layout::PatchNetVlad)
}

fn plain(name: &str) -> &str {
    name.strip_prefix(PARALLEL).unwrap_or(name)
}

/// Whether a CosPlace file holds a VGG16, whose convolutions are numbered without blocks.
fn is_vgg(tensors: &Tensors) -> bool {
    ["backbone.2.", "backbone.10.", "backbone.28."]
        .iter()
        .any(|stem| tensors.keys().any(|name| plain(name).starts_with(stem)))
}

fn rules(layout: Layout, vgg: bool) -> Rules {
    match (layout, vgg) {
        (Layout::GemLinear, false) => GEM_RESNET,
        (Layout::GemLinear, true) => GEM_VGG,
        (Layout::MixVpr, _) => MIX_VPR,
        (Layout::PatchNetVlad, _) => PATCH_NET_VLAD,
    }
}

/// A function that puts the file's own names into problems, which begin with this program's.
pub(super) fn naming(tensors: &Tensors) -> impl Fn(String) -> String + use<> {
    let rules = layout(tensors).map_or(&[][..], |layout| rules(layout, is_vgg(tensors)));
    let parallel = tensors.keys().all(|name| name.starts_with(PARALLEL)) && !rules.is_empty();
    move |problem| {
        let theirs =
            rules.iter().find_map(|(theirs, ours)| Some(format!("{theirs}{}", problem.strip_prefix(ours)?)));
        let named = theirs.unwrap_or(problem);
        if parallel { format!("{PARALLEL}{named}") } else { named }
    }
}

pub(super) fn draft(layout: Layout, file: SourceFile, options: &ImportOptions) -> Result<Draft> {
    let plain = names::rename(file.tensors, &[(PARALLEL, "")]);
    let vgg = layout == Layout::GemLinear && is_vgg(&plain);
    let mut tensors = names::rename(plain, rules(layout, vgg));
    let mut leftovers = names::set_aside(&mut tensors, |name| name.ends_with(".num_batches_tracked"));
    leftovers.sort();
    let source = file.provenance.get("source").and_then(|name| name.as_str()).unwrap_or_default();
    let Parts { backbone, global, row, size, fixed } = match layout {
        Layout::GemLinear => gem_linear(&tensors, vgg, source)?,
        Layout::MixVpr => mix_vpr(&tensors)?,
        Layout::PatchNetVlad => patch_net_vlad(&mut tensors)?,
    };
    let input = options.input(Normalisation::ImageNet, size, ResizeMode::Antialias);
    let config = global_only(backbone, global, input, row, file.provenance);
    let notes = [Some(GLOBAL_ONLY.to_string()), fixed].into_iter().flatten().collect();
    Ok(Draft { config, tensors, leftovers, notes })
}

/// What the tensors determine.
struct Parts {
    backbone: BackboneConfig,
    global: GlobalConfig,
    row: &'static Published,
    /// Default height and width.
    size: [usize; 2],
    /// A note on the image size.
    fixed: Option<String>,
}

fn gem_linear(tensors: &Tensors, vgg: bool, source: &str) -> Result<Parts> {
    let source = source.to_lowercase();
    let row = match (source.contains("cosplace"), source.contains("eigenplaces")) {
        (true, false) => &catalog::COSPLACE,
        (false, true) => &catalog::EIGENPLACES,
        _ => &catalog::COSPLACE_OR_EIGENPLACES,
    };
    if tensors.keys().any(|name| name.starts_with("backbone.0.0.")) {
        return Err(ModelError::Config(
            "is a CosPlace model over an EfficientNet, which is not supported: ResNet and VGG16 are".into(),
        ));
    }
    Ok(Parts {
        backbone: if vgg { BackboneConfig::Vgg16 } else { BackboneConfig::ResNet(resnet(tensors, 4)?) },
        global: GlobalConfig::Linear {
            dim: rows(tensors, "head.weight", "aggregation.3.weight")?,
            pooling: Pooling::Cls,
        },
        row,
        size: [480, 640],
        fixed: Some(
            "published results are at each image's own size (--image-size native), here 480x640 is the default".into(),
        ),
    })
}

fn mix_vpr(tensors: &Tensors) -> Result<Parts> {
    let resnet = resnet(tensors, 3)?;
    if tensors.keys().any(|name| name.starts_with("backbone.layer4.")) {
        return Err(ModelError::Config(
            "is a MixVPR model over a ResNet's layer4, which is not supported".into(),
        ));
    }
    let [rows_out, positions] = sizes(tensors, "aggregator.row_proj.weight")?;
    let channels = rows(tensors, "aggregator.channel_proj.weight", "aggregator.channel_proj.weight")?;
    let side = positions.isqrt();
    if side * side != positions {
        return Err(ModelError::Config(format!(
            "aggregator.row_proj.weight has {positions} positions, which is not a square map"
        )));
    }
    let [hidden, _] = sizes(tensors, "aggregator.mix.0.mix.1.weight")?;
    let grid = [side; 2];
    let mix = MixVprConfig {
        grid,
        depth: names::depth(tensors, "aggregator.mix."),
        hidden,
        channels,
        rows: rows_out,
    };
    let size = grid.map(|cells| 16 * cells);
    Ok(Parts {
        backbone: BackboneConfig::ResNet(resnet),
        global: GlobalConfig::MixVpr(mix),
        row: &catalog::MIXVPR,
        size,
        fixed: Some(format!("takes images of {}x{} only", size[0], size[1])),
    })
}

fn patch_net_vlad(tensors: &mut Tensors) -> Result<Parts> {
    // A 1x1 convolution is a linear layer.
    for name in ["aggregator.assign", "aggregator.whitening.weight"] {
        if let Some(tensor) = tensors.get_mut(name)
            && let [rows, columns, 1, 1] = tensor.shape[..]
        {
            tensor.shape = vec![rows, columns];
        }
    }
    let clusters = rows(tensors, "aggregator.centroids", "pool.centroids")?;
    // Either tensor suffices, so that the error for a file without the other one names it.
    let whitened = match tensors.keys().any(|name| name.starts_with("aggregator.whitening.")) {
        true => Some(rows(tensors, "aggregator.whitening.weight", "WPCA.0.weight")?),
        false => None,
    };
    Ok(Parts {
        backbone: BackboneConfig::Vgg16,
        global: GlobalConfig::NetVlad(NetVladConfig { clusters, whitened }),
        row: &catalog::PATCH_NETVLAD,
        size: [480, 640],
        fixed: Some("its patches are not used: the descriptor is NetVLAD's".into()),
    })
}

/// The ResNet of tensors with torchvision's names.
pub(super) fn resnet(tensors: &Tensors, stages: usize) -> Result<ResNetConfig> {
    let bottleneck =
        tensors.keys().any(|name| name.starts_with("backbone.layer") && name.contains(".conv3."));
    let third = names::depth(tensors, "backbone.layer3.");
    let depth = ResNetConfig::depth_of(bottleneck, third).ok_or_else(|| {
        let kind = if bottleneck { "bottlenecks" } else { "basic blocks" };
        ModelError::Config(format!(
            "its backbone has {third} {kind} in the third stage, which no supported network has (ResNet-18, 34, 50, 101, \
             152 and VGG16 are supported)"
        ))
    })?;
    Ok(ResNetConfig::new(depth, stages))
}

fn sizes(tensors: &Tensors, name: &str) -> Result<[usize; 2]> {
    match tensors.get(name).map(|tensor| tensor.shape.as_slice()) {
        Some([rows, columns]) => Ok([*rows, *columns]),
        Some(shape) => Err(ModelError::Config(format!("{name} has shape {shape:?}, which is not a matrix"))),
        None => Err(ModelError::Config(format!("{name} is missing"))),
    }
}

/// The rows of a matrix; `theirs` is its name in the file.
fn rows(tensors: &Tensors, name: &str, theirs: &str) -> Result<usize> {
    names::rows(tensors, name).ok_or_else(|| ModelError::Config(format!("{theirs} is missing")))
}
