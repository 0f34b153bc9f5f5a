//! Models and sizes in a few words.

use r2former_model::{BackboneConfig, GlobalConfig, ModelConfig, Pooling, PositionMode};

pub(crate) fn backbone(config: &ModelConfig) -> String {
    match &config.backbone {
        BackboneConfig::ResNet(resnet) if resnet.stages < 4 => {
            format!("ResNet-{}, cut after layer{}", resnet.depth, resnet.stages)
        }
        BackboneConfig::ResNet(resnet) => format!("ResNet-{}", resnet.depth),
        BackboneConfig::Vgg16 => "VGG16 up to conv5_3".into(),
        BackboneConfig::Vit(v) => {
            let mut words = format!(
                "vision transformer: {} blocks of width {}, {} heads, patch {}",
                v.depth, v.dim, v.heads, v.patch
            );
            if v.distilled {
                words += ", distilled";
            }
            if v.layer_scale {
                words += ", layer scale";
            }
            if v.swiglu.is_some() {
                words += ", gated MLPs";
            }
            if v.registers > 0 {
                words += &format!(", {} registers", v.registers);
            }
            if v.adapters.is_some() {
                words += ", adapters";
            }
            if v.values {
                words += ", values of the last";
            }
            words += match v.position {
                _ if !v.rotary.is_empty() => ", rotary positions",
                PositionMode::Bicubic => ", bicubic positions",
                PositionMode::Dinov2 => ", positions as DINOv2's",
                PositionMode::Antialias => ", antialiased positions",
                PositionMode::Official => ", positions as the published code",
            };
            words
        }
    }
}

/// Whether no part of a model was trained for place recognition.
pub(crate) fn untrained(config: &ModelConfig) -> bool {
    let trained = config.trained;
    !(trained.global || trained.local || trained.reranker)
}

pub(crate) fn global_head(config: &ModelConfig) -> String {
    match &config.global {
        GlobalConfig::Linear { .. } if config.backbone.is_convolutional() => {
            "linear head on GeM of the L2-normalised map".into()
        }
        GlobalConfig::MixVpr(mix) => format!("MixVPR, {} mixing layers", mix.depth),
        GlobalConfig::NetVlad(vlad) => match vlad.whitened {
            Some(_) => format!("NetVLAD of {} clusters, whitened", vlad.clusters),
            None => format!("NetVLAD of {} clusters", vlad.clusters),
        },
        GlobalConfig::Gem(gem) if gem.dim.is_some() => "GeM of the patches between linear layers".into(),
        GlobalConfig::Gem(_) => "GeM of the patches with a learned power".into(),
        GlobalConfig::Crica(_) => "CricaVPR's regions, each image as its own batch".into(),
        GlobalConfig::LocalVlad(vlad) => {
            format!("VLAD of {} clusters of the local features of all patches, whitened", vlad.clusters)
        }
        GlobalConfig::Vlad(vlad) => format!("VLAD of {} clusters", vlad.clusters),
        GlobalConfig::Linear { pooling: Pooling::Cls, .. } => "linear head".into(),
        GlobalConfig::Linear { pooling, .. } => {
            format!("linear head on {pooling:?}-pooled patches").to_lowercase()
        }
        GlobalConfig::Salad(salad) => {
            let linear = if salad.linear.is_some() { " and a linear layer" } else { "" };
            format!("SALAD of {} clusters{linear}", salad.clusters)
        }
        GlobalConfig::Boq(boq) => format!("BoQ of {} x {} queries", boq.layers, boq.queries),
        GlobalConfig::Pooled { pooling } => format!("{pooling:?}-pooled backbone output").to_lowercase(),
    }
}

pub(crate) fn input(config: &ModelConfig) -> String {
    let i = &config.input;
    let size = match i.rule {
        None => format!("{}x{} (height x width)", i.height, i.width),
        Some(rule) => format!("{rule} ({})", i.image_size().described()),
    };
    format!("{size}, mean {:?}, std {:?}, resize {}, {}", i.mean, i.std, i.resize, config.precision)
}

/// A size for people.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}
