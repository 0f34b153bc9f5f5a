//! That faults are found, and named.

use super::trust::trust_by;
use super::*;
use crate::{EngineError, NoProgress};
use r2former_model::weights::Tensors;
use r2former_model::{DeviceInfo, GlobalConfig, LocalConfig, ModelConfig, Pooling, VitConfig};
use std::cell::Cell;

/// A model with every stage, small and with weights large enough to matter.
fn small() -> LoadedModel {
    let mut config = ModelConfig::preset("vit-tiny").unwrap();
    let r2former_model::BackboneConfig::Vit(vit) = config.backbone else { panic!("a transformer") };
    config.backbone = r2former_model::BackboneConfig::Vit(VitConfig { depth: 2, dim: 48, ..vit });
    config.global = GlobalConfig::Linear { dim: 16, pooling: Pooling::Gem };
    config.local = Some(LocalConfig { dim: 12, count: 40, ..Default::default() });
    config.reranker.get_or_insert_default();
    [config.input.height, config.input.width] = [96, 96];
    LoadedModel::random(&config, 5).unwrap().with(|_, tensors| scale(tensors, 6.0)).unwrap()
}

fn scale(tensors: &mut Tensors, by: f32) {
    let weights = tensors.iter_mut().filter(|(name, _)| name.ends_with("weight") && !name.contains("norm"));
    weights.for_each(|(_, tensor)| tensor.data.iter_mut().for_each(|v| *v *= by));
}

/// The CPU's own operations, with one stage computed by another model or changed afterwards.
struct Wrong {
    sound: Plain,
    other: Plain,
    stage: &'static str,
}

impl Wrong {
    /// `change` makes the model that computes `stage`.
    fn new(loaded: &LoadedModel, stage: &'static str, change: impl Fn(&mut Tensors)) -> Self {
        let other = loaded.with(|_, tensors| change(tensors)).unwrap();
        let plain = |loaded: &LoadedModel| Plain::new(loaded, Precision::F32, &Device::flex()).unwrap();
        Self { sound: plain(loaded), other: plain(&other), stage }
    }

    fn by(&self, stage: &str) -> &Plain {
        if self.stage == stage { &self.other } else { &self.sound }
    }
}

impl Compute for Wrong {
    fn tokens(&self, images: &Array) -> Result<BackboneOutput> {
        self.by("pixels to tokens").tokens(images)
    }

    fn block(&self, tokens: &Array) -> Result<Option<[Array; 2]>> {
        self.by("attention").block(tokens)
    }

    fn select(&self, attention: &Array, tokens: &Array, count: usize) -> Result<Array> {
        let mut found = self.sound.select(attention, tokens, count)?;
        if self.stage == "selection" {
            // Two neighbours in the wrong order.
            let row = found.dims[2];
            if count > 1 {
                (0..row).for_each(|i| found.values.swap(i, row + i));
            }
        }
        Ok(found)
    }

    fn global(&self, last: &Array, prefix: usize) -> Result<Array> {
        self.by("global head").global(last, prefix)
    }

    fn local(&self, selected: &Array) -> Result<Option<Array>> {
        self.by("local head").local(selected)
    }

    fn correlate(&self, query: &Array, reference: &Array) -> Result<[BestMatches; 2]> {
        let mut found = self.sound.correlate(query, reference)?;
        if self.stage == "best matches" {
            // As a kernel that writes the rows of a vector over one another.
            let [_, _, k] = plain::axes::<3>(&found[1].correlation);
            let numbers = &mut found[1].other;
            (0..numbers.len() - k).rev().step_by(2 * k).for_each(|i| numbers[i] = numbers[i + k]);
        }
        Ok(found)
    }

    fn feature_tokens(&self, matches: &Array) -> Result<Array> {
        self.by("feature blocks").feature_tokens(matches)
    }

    fn pair_tokens(&self, features: &Array) -> Result<Array> {
        self.by("pair blocks").pair_tokens(features)
    }

    fn logits(&self, query: &Array, reference: &Array) -> Result<Array> {
        match self.stage {
            "logits" => panic!("the device was lost"),
            _ => self.sound.logits(query, reference),
        }
    }
}

/// Queries of every block under a name, times a factor: an attention with another scale.
fn other_scale(tensors: &mut Tensors, prefix: &str) {
    for (name, tensor) in tensors.iter_mut().filter(|(name, _)| name.starts_with(prefix)) {
        if name.contains("attn.qkv") {
            let queries = tensor.data.len() / 3;
            tensor.data[..queries].iter_mut().for_each(|v| *v *= 1.2);
        }
    }
}

fn faults(loaded: &LoadedModel, wrong: impl Fn() -> Wrong, extent: Extent) -> Vec<&'static str> {
    let subject = |_| -> Result<Box<dyn Compute>> { Ok(Box::new(wrong())) };
    let options = Options::new(extent).precision(Precision::F32);
    let report = examine(loaded, &Device::flex(), &subject, &options, &NoProgress).unwrap();
    assert_eq!(report.agrees(), report.first_fault().is_none());
    report.stages.iter().filter(|stage| !stage.is_sound()).map(|stage| stage.stage).collect()
}

#[test]
fn the_cpu_agrees_with_itself_in_every_stage_and_precision() {
    let loaded = small();
    let report = check(&loaded, &Device::flex(), &Options::default(), &NoProgress).unwrap();
    assert!(report.agrees(), "{:#?}", report.first_fault());
    // Eleven stages in f32, five of them in bf16 too.
    assert_eq!(report.stages.len(), 16);
    assert!(report.stages.iter().all(|stage| stage.verdict == Verdict::Agrees), "{report:#?}");
    let batches: Vec<&str> =
        report.stages.iter().flat_map(|s| &s.comparisons).map(|c| c.input.as_str()).collect();
    for batch in ["1 ", "2 ", "7 ", "100 "] {
        assert!(batches.iter().any(|input| input.contains(batch)));
    }
}

#[test]
fn a_sound_device_has_no_fault() {
    let loaded = small();
    assert_eq!(faults(&loaded, || Wrong::new(&loaded, "none", |_| ()), Extent::Short), [""; 0]);
}

#[test]
fn an_attention_with_another_scale_is_named() {
    let loaded = small();
    let backbone = || Wrong::new(&loaded, "attention", |t| other_scale(t, "backbone."));
    assert_eq!(faults(&loaded, backbone, Extent::Short), ["block", "attention"]);
    let features = || Wrong::new(&loaded, "feature blocks", |t| other_scale(t, "reranker.blocks_2."));
    assert_eq!(faults(&loaded, features, Extent::Short), ["feature blocks"]);
    let pairs = || Wrong::new(&loaded, "pair blocks", |t| other_scale(t, "reranker.blocks."));
    assert_eq!(faults(&loaded, pairs, Extent::Short), ["pair blocks"]);
}

#[test]
fn each_stage_is_found_by_itself() {
    let loaded = small();
    let slightly = |tensors: &mut Tensors| scale(tensors, 1.02);
    let stretched = |tensors: &mut Tensors| {
        let head = tensors.iter_mut().filter(|(name, _)| name.starts_with("head."));
        head.for_each(|(_, t)| t.data.iter_mut().step_by(3).for_each(|v| *v *= 1.02));
    };
    for stage in ["pixels to tokens", "local head"] {
        assert_eq!(faults(&loaded, || Wrong::new(&loaded, stage, slightly), Extent::Short), [stage]);
    }
    // A descriptor's length is one: all weights alike change nothing.
    let stage = "global head";
    assert_eq!(faults(&loaded, || Wrong::new(&loaded, stage, stretched), Extent::Short), [stage]);
    for stage in ["selection", "best matches", "logits"] {
        assert_eq!(faults(&loaded, || Wrong::new(&loaded, stage, |_| ()), Extent::Short), [stage]);
    }
}

#[test]
fn a_device_that_panics_is_reported_with_its_words() {
    let loaded = small();
    let subject = |_| -> Result<Box<dyn Compute>> { Ok(Box::new(Wrong::new(&loaded, "logits", |_| ()))) };
    let options = Options::new(Extent::Short);
    let report = examine(&loaded, &Device::flex(), &subject, &options, &NoProgress).unwrap();
    let fault = report.first_fault().unwrap();
    assert_eq!(fault.stage, "logits");
    assert!(fault.fault().contains("the device was lost"), "{}", fault.fault());
}

fn info(adapter: &str) -> DeviceInfo {
    DeviceInfo { device: "wgpu".into(), adapter: Some(adapter.into()), driver: Some("driver 1".into()) }
}

/// Whether the device was checked, and what came of it.
fn asked(
    loaded: &LoadedModel,
    adapter: &str,
    cache: &TrustCache,
    stage: &'static str,
) -> (bool, Result<Trust>) {
    let checked = Cell::new(false);
    let trusted = trust_by(loaded, Precision::F32, &info(adapter), cache, || {
        checked.set(true);
        let wrong = |_| -> Result<Box<dyn Compute>> {
            Ok(Box::new(Wrong::new(loaded, stage, |t| other_scale(t, "reranker."))))
        };
        let options = Options::new(Extent::Short);
        examine(loaded, &Device::flex(), &wrong, &options, &NoProgress)
    });
    (checked.get(), trusted)
}

#[test]
fn a_device_is_checked_once_for_each_adapter_build_and_model() {
    let loaded = small();
    let folder = tempfile::tempdir().unwrap();
    let cache = TrustCache::new(folder.path().join("below/devices"), "1.0 wgpu");
    let ask = |loaded: &LoadedModel, adapter: &str, cache: &TrustCache| {
        let (checked, trusted) = asked(loaded, adapter, cache, "none");
        assert_eq!(trusted.unwrap(), if checked { Trust::Checked } else { Trust::Remembered });
        checked
    };
    assert!(ask(&loaded, "A", &cache));
    assert!(!ask(&loaded, "A", &cache));
    assert!(ask(&loaded, "B", &cache));
    assert!(ask(&loaded, "A", &TrustCache::new(folder.path().join("below/devices"), "1.1 wgpu")));
    let other = loaded.with(|_, tensors| scale(tensors, 1.1)).unwrap();
    assert!(ask(&other, "A", &cache));
    assert!(ask(&loaded, "A", &TrustCache::none()) && ask(&loaded, "A", &TrustCache::none()));

    // Files that are damaged, empty or another device's are as good as none.
    let files = || std::fs::read_dir(folder.path().join("below/devices")).unwrap().map(|f| f.unwrap().path());
    let texts: Vec<String> = files().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    for text in
        ["", "{", "[]", texts[0].replace("\"A", "\"Z").replace("(A", "(Z").replace("(B", "(Z").as_str()]
    {
        files().for_each(|path| std::fs::write(path, text).unwrap());
        assert!(ask(&loaded, "A", &cache), "{text}");
        assert!(!ask(&loaded, "A", &cache), "{text}");
    }
}

#[test]
fn a_wrong_device_is_refused_with_its_stage_every_time() {
    let loaded = small();
    let folder = tempfile::tempdir().unwrap();
    let cache = TrustCache::new(folder.path(), "1.0 wgpu");
    for _ in 0..2 {
        let (checked, refused) = asked(&loaded, "A", &cache, "pair blocks");
        let error = refused.unwrap_err();
        assert!(checked && matches!(error, EngineError::Untrusted { stage: "pair blocks", .. }));
        let said = error.to_string();
        for part in ["wgpu (A, driver 1)", "pair blocks", "--device cpu", "r2former doctor", "--trust-device"]
        {
            assert!(said.contains(part), "{said}");
        }
    }
}

#[test]
fn the_cpu_is_trusted_without_a_check() {
    let loaded = small();
    let (device, info) = (Device::flex(), info("CPU"));
    let trusted = trust(&loaded, Precision::F32, &device, &info, &TrustCache::none(), &[], &NoProgress);
    assert_eq!(trusted.unwrap(), Trust::Cpu);
}
