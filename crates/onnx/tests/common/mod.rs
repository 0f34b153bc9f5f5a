//! Small models of every kind, with weights under which every part counts.

#![allow(dead_code, reason = "each test file uses its own part")]

#[path = "../../../model/tests/parity/generate.rs"]
mod generate;

pub(crate) use generate::uniform;
use r2former_model::{
    AdapterConfig, BackboneConfig, BoqConfig, Checkpoint, CricaConfig, Device, Facet, GemConfig,
    GlobalConfig, LocalConfig, LocalVladConfig, MixVprConfig, ModelConfig, NetVladConfig, Pooling,
    PositionMode, R2Former, ResNetConfig, SaladConfig, Selection, VitConfig, VladConfig,
};

/// A model and the sizes (height, width) of images that it is tried with.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) config: ModelConfig,
    pub(crate) sizes: Vec<[usize; 2]>,
}

/// The range of a tensor's values by its name and shape.
fn range(name: &str, shape: &[usize]) -> (f64, f64) {
    let bound = (3.0 / shape.iter().skip(1).product::<usize>() as f64).sqrt();
    let part = name.rsplit('.').next().unwrap_or_default();
    match (part, shape.len()) {
        ("pos_embed" | "query", _) => (-0.8, 0.8),
        (token, _) if token.contains("_token") => (-0.8, 0.8),
        ("gamma", _) => (0.3, 0.9),
        ("p", _) => (2.5, 3.5),
        ("running_var", _) => (0.7, 1.3),
        ("assign", _) => (-4.0, 4.0),
        (_, 2..) => (-bound, bound),
        ("weight", _) => (0.4, 1.0),
        _ => (-0.2, 0.2),
    }
}

/// A checkpoint of this configuration.
pub(crate) fn checkpoint(config: &ModelConfig) -> Checkpoint {
    let model = R2Former::random(config, 1, &Device::flex()).expect("a valid configuration");
    let mut tensors = model.to_tensors().expect("host tensors");
    for (name, tensor) in &mut tensors {
        let (low, high) = range(name, &tensor.shape);
        tensor.data = uniform(name, tensor.data.len(), low, high);
    }
    Checkpoint { config: config.clone(), tensors, fingerprint: "0".repeat(64) }
}

/// A small transformer of a named family, without local features and reranker.
fn vit(family: &str, change: impl FnOnce(&mut VitConfig)) -> ModelConfig {
    let mut config = ModelConfig::preset(family).expect("a preset");
    let mut small = VitConfig {
        dim: 64,
        depth: 3,
        heads: 2,
        grid: [6, 5],
        ..VitConfig::preset(family).expect("a preset")
    };
    if !small.rotary.is_empty() {
        small.rotary = VitConfig::rotary_periods(100.0, small.dim / small.heads);
    }
    small.swiglu = small.swiglu.map(|_| 96);
    change(&mut small);
    (config.input.height, config.input.width) = (6 * small.patch, 5 * small.patch);
    config.backbone = BackboneConfig::Vit(small);
    config.global = GlobalConfig::Linear { dim: 24, pooling: Pooling::Cls };
    (config.local, config.reranker) = (None, None);
    config
}

fn with(mut config: ModelConfig, global: GlobalConfig) -> ModelConfig {
    config.global = global;
    config
}

fn cnn(backbone: BackboneConfig, global: GlobalConfig) -> ModelConfig {
    let mut config = ModelConfig::preset("cosplace-r50").expect("a preset");
    (config.backbone, config.global) = (backbone, global);
    (config.input.height, config.input.width) = (64, 96);
    config
}

fn resnet(depth: usize, stages: usize) -> BackboneConfig {
    BackboneConfig::ResNet(ResNetConfig::new(depth, stages))
}

fn local(mut config: ModelConfig, change: impl FnOnce(&mut LocalConfig)) -> ModelConfig {
    let mut local = LocalConfig { dim: 16, count: 20, ..LocalConfig::default() };
    change(&mut local);
    config.local = Some(local);
    config
}

/// One model of every kind.
pub(crate) fn cases() -> Vec<Case> {
    let plain = || vit("vit-tiny", |_| {});
    let dinov2 = |change: fn(&mut VitConfig)| {
        vit("dinov2-b", |vit| {
            vit.position = PositionMode::Dinov2;
            change(vit);
        })
    };
    let salad =
        |linear| GlobalConfig::Salad(SaladConfig { clusters: 8, dim: 12, token: 10, hidden: 40, linear });
    let boq = || GlobalConfig::Boq(BoqConfig { width: 32, heads: 2, layers: 2, queries: 6, rows: 4 });
    let patch16 = || vec![[96, 80], [64, 128], [160, 112]];
    let patch14 = || vec![[84, 70], [56, 112], [140, 98]];
    let odd = || vec![[64, 96], [97, 65], [70, 131]];
    let case = |name, config, sizes| Case { name, config, sizes };
    let adapters = |adapters: AdapterConfig| {
        let mut config = dinov2(|_| {});
        let BackboneConfig::Vit(vit) = &mut config.backbone else { unreachable!("a transformer") };
        vit.adapters = Some(adapters);
        config
    };
    let mut crica = with(
        adapters(AdapterConfig::Parallel { width: 32 }),
        GlobalConfig::Crica(CricaConfig { layers: 2, hidden: 48 }),
    );
    (crica.input.height, crica.input.width) = (224, 224);
    let mut mixvpr = cnn(
        resnet(18, 3),
        GlobalConfig::MixVpr(MixVprConfig { grid: [4, 6], depth: 2, hidden: 20, channels: 12, rows: 3 }),
    );
    mixvpr.input.height = 64;
    let anyloc = with(
        dinov2(|vit| {
            (vit.values, vit.final_norm) = (true, false);
        }),
        GlobalConfig::Vlad(VladConfig { clusters: 5 }),
    );
    let gem = |projected, dim| GlobalConfig::Gem(GemConfig { projected, dim });
    let linear = |dim| GlobalConfig::Linear { dim, pooling: Pooling::Gem };
    let official = |change: fn(&mut VitConfig)| vit("deit-s", change);
    let local_vlad = || GlobalConfig::LocalVlad(LocalVladConfig { clusters: 5, dim: 24, softness: 4.0 });
    // Inside the grid, as large, wider, higher, and a wide one that is lower.
    let windows = || vec![[96, 80], [64, 48], [80, 80], [64, 176], [160, 96], [32, 96]];
    // hloc's files subtract a mean from values of 0 to 255.
    let mut hloc =
        cnn(BackboneConfig::Vgg16, GlobalConfig::NetVlad(NetVladConfig { clusters: 6, whitened: Some(30) }));
    (hloc.input.mean, hloc.input.std) = ([0.48, 0.45, 0.41], [1.0 / 255.0; 3]);
    hloc.input.rule = Some("longest:1024".parse().expect("a rule"));
    vec![
        case("vit_bicubic_cls", plain(), patch16()),
        case("vit_gem", with(plain(), linear(24)), patch16()),
        case("vit_local_vlad", local(with(plain(), local_vlad()), |_| {}), patch16()),
        case(
            "vit_local_vlad_official",
            local(with(plain(), local_vlad()), |local| local.official_gather = true),
            patch16(),
        ),
        case("vit_pooled_mean", with(plain(), GlobalConfig::Pooled { pooling: Pooling::Mean }), patch16()),
        case("vit_pooled_gem", with(plain(), GlobalConfig::Pooled { pooling: Pooling::Gem }), patch16()),
        case("deit_distilled_official", official(|vit| vit.grid = [6, 5]), windows()),
        case("deit_official_high_grid", official(|vit| vit.grid = [14, 2]), windows()),
        case("deit_antialias", vit("deit-b", |vit| vit.position = PositionMode::Antialias), patch16()),
        case("dinov2", dinov2(|_| {}), patch14()),
        case(
            "dinov2_registers",
            vit("dinov2-b", |vit| (vit.registers, vit.position) = (4, PositionMode::Antialias)),
            patch14(),
        ),
        case("dinov2_swiglu", vit("dinov2-g", |vit| vit.position = PositionMode::Dinov2), patch14()),
        case("dinov3", vit("dinov3-s", |_| {}), patch16()),
        case("dinov3_plus", vit("dinov3-s-plus", |_| {}), patch16()),
        case("salad", with(dinov2(|_| {}), salad(None)), patch14()),
        case("megaloc", with(dinov2(|_| {}), salad(Some(36))), patch14()),
        case("boq", with(dinov2(|vit| vit.final_norm = false), boq()), patch14()),
        case("cricavpr", crica, vec![[224, 224]]),
        case("selavpr", with(adapters(AdapterConfig::Linear { width: 32 }), gem(false, None)), patch14()),
        case(
            "selavprplusplus",
            with(adapters(AdapterConfig::Side { width: 32, count: 2 }), gem(true, Some(20))),
            patch14(),
        ),
        case("anyloc", anyloc.clone(), patch14()),
        case("anyloc_local", local(anyloc, |local| local.facet = Facet::Value), patch14()),
        case("resnet18_gem", cnn(resnet(18, 4), linear(32)), odd()),
        case("resnet34_mean", cnn(resnet(34, 4), GlobalConfig::Pooled { pooling: Pooling::Mean }), odd()),
        case("resnet50_gem", cnn(resnet(50, 4), linear(32)), vec![[64, 96], [97, 65]]),
        case("resnet50_boq", cnn(resnet(50, 3), boq()), vec![[64, 96], [97, 65]]),
        case("mixvpr", mixvpr, vec![[64, 96]]),
        case("vgg16_gem", cnn(BackboneConfig::Vgg16, linear(32)), odd()),
        case(
            "netvlad",
            cnn(
                BackboneConfig::Vgg16,
                GlobalConfig::NetVlad(NetVladConfig { clusters: 6, whitened: Some(30) }),
            ),
            odd(),
        ),
        case(
            "netvlad_raw",
            cnn(BackboneConfig::Vgg16, GlobalConfig::NetVlad(NetVladConfig { clusters: 6, whitened: None })),
            vec![[64, 96]],
        ),
        case("netvlad_hloc", hloc, odd()),
        case("local_attention", local(plain(), |_| {}), patch16()),
        case("local_official", local(vit("deit-s", |_| {}), |local| local.official_gather = true), windows()),
        case(
            "local_key_norm",
            local(dinov2(|_| {}), |local| {
                (local.layer, local.facet, local.select) = (Some(1), Facet::Key, Selection::Norm);
            }),
            patch14(),
        ),
        case(
            "local_cls_key",
            local(vit("dinov3-s", |_| {}), |local| {
                (local.facet, local.select, local.projected, local.dim) =
                    (Facet::Value, Selection::ClsKey, false, 64);
                local.min_attention = Some(0.03);
            }),
            patch16(),
        ),
        case(
            "local_salad",
            local(with(dinov2(|_| {}), salad(None)), |local| {
                (local.layer, local.select) = (Some(2), Selection::Aggregation);
            }),
            patch14(),
        ),
        case(
            "local_boq",
            local(with(dinov2(|_| {}), boq()), |local| {
                (local.facet, local.select) = (Facet::Query, Selection::Aggregation);
            }),
            patch14(),
        ),
        case("local_resnet", local(cnn(resnet(50, 4), linear(32)), |_| {}), vec![[64, 96], [96, 64]]),
        case(
            "local_vgg",
            local(cnn(BackboneConfig::Vgg16, linear(32)), |local| local.select = Selection::Norm),
            vec![[64, 96], [80, 48]],
        ),
    ]
}
