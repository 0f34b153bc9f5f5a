//! AnyLoc: descriptors against its own code over DINOv2's, and files that do not fit each other.

use crate::common::{Outputs, close, host};
use crate::{data, generate};
use burn::tensor::Device;
use r2former_model::import::{ImportOptions, Imported, import};
use r2former_model::{BackboneConfig, Facet, GlobalConfig, R2Former, ResizeMode, Selection, VladConfig};
use std::path::{Path, PathBuf};

const SIZES: [[usize; 2]; 3] = [[98, 98], [126, 84], [322, 322]];
const VOCABULARY: &str = "dinov2_small_l2_value_c6_urban_c_centers.pt";

/// Imports the backbone, changed, with a vocabulary.
fn anyloc(
    change: impl Fn(&mut Vec<(String, Vec<usize>)>),
    vocabulary: PathBuf,
    layer: Option<usize>,
) -> Result<Imported, String> {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("dinov2_pretrain.safetensors");
    let mut shapes = Outputs::open(&data("anyloc.outputs.safetensors")).shapes("dinov2");
    change(&mut shapes);
    generate::write(&path, &shapes, str::to_string);
    let options = ImportOptions { vocabulary: Some(vocabulary), layer, ..Default::default() };
    import(&path, &options).map_err(|error| error.to_string())
}

#[test]
fn descriptors_as_anyloc_computes_them() {
    let imported = anyloc(|_| (), data(VOCABULARY), None).expect("imports");
    let config = &imported.config;
    let BackboneConfig::Vit(vit) = &config.backbone else { panic!("a transformer") };
    assert_eq!((vit.depth, vit.values, vit.final_norm), (3, true, false));
    assert_eq!(config.global, GlobalConfig::Vlad(VladConfig { clusters: 6 }));
    assert_eq!(config.global_dim(), 6 * 48);
    assert!(config.trained.global && !config.trained.local);
    // By default local features are the values that the descriptor is made of.
    let local = config.local.as_ref().expect("local features");
    assert_eq!((local.layer, local.facet, local.select), (None, Facet::Value, Selection::Attention));
    assert!(imported.notes.iter().all(|note| !note.contains("global-only")), "{:?}", imported.notes);
    assert_eq!(config.input.resize, ResizeMode::TensorBicubic);
    assert_eq!(config.input.image_size().to_string(), "longest:1024:crop");
    // The rest of that block, the next one, the last norm and what no image needs.
    assert_eq!(imported.leftovers.len(), 10 + 14 + 2 + 1, "{:?}", imported.leftovers);
    assert!(config.provenance["vocabulary"]["source"] == VOCABULARY, "{}", config.provenance);
    let model = R2Former::from_tensors(config, imported.tensors.clone(), &Device::flex()).expect("builds");
    assert!(model.to_tensors().expect("reads") == imported.tensors);
    let outputs = Outputs::open(&data("anyloc.outputs.safetensors"));
    for size in SIZES {
        let features = model.extract(generate::image(size)).expect("multiples of the patch");
        let patches = (size[0] / 14) * (size[1] / 14);
        let local = features.local.expect("local features");
        assert_eq!(local.dims(), [1, patches.min(500), 3 + 128]);
        let found = host(features.global);
        let case = format!("{}x{}", size[0], size[1]);
        close(&found, &outputs.values(&case), 1e-5, &case);
    }
}

#[test]
fn files_that_do_not_fit_say_so() {
    let refused = |found: Result<Imported, String>, words: &[&str]| {
        let error = found.expect_err(words[0]);
        assert!(words.iter().all(|word| error.contains(word)), "{words:?}: {error}");
    };
    let own = || data(VOCABULARY);
    refused(anyloc(|_| (), own(), Some(4)), &["dinov2_pretrain.safetensors", "4 blocks", "--layer"]);
    refused(
        anyloc(|shapes| shapes.retain(|(name, _)| name != "blocks.2.attn.qkv.bias"), own(), None),
        &["blocks.2.attn.qkv.bias", "missing"],
    );
    refused(anyloc(|shapes| shapes.push(("extra".into(), vec![2])), own(), None), &["extra: not expected"]);
    refused(anyloc(|_| (), data("dinov2.pth"), None), &["dinov2.pth", "is no vocabulary"]);

    // The vocabulary without a backbone, and one of another facet or width.
    let error = import(&own(), &ImportOptions::default()).expect_err("no backbone").to_string();
    assert!(
        error.contains(VOCABULARY) && error.contains("[6, 48]") && error.contains("--vocabulary"),
        "{error}"
    );
    let folder = tempfile::tempdir().expect("temporary folder");
    let named = |name: &str| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::copy(own(), &path).expect("copies");
        path
    };
    refused(anyloc(|_| (), named("dinov2_vitg14_l31_key_c32_c_centers.pt"), None), &["facet key"]);
    let wide = folder.path().join("wide.safetensors");
    let shapes = Outputs::open(&data("dinov3.outputs.safetensors")).shapes("hub_dinov2");
    generate::write(&wide, &shapes, str::to_string);
    let options = ImportOptions { vocabulary: Some(own()), heads: Some(2), ..Default::default() };
    let error = import(&wide, &options).expect_err("another width").to_string();
    assert!(error.contains(VOCABULARY) && error.contains("48 dimensions, the backbone has 128"), "{error}");
    refused(anyloc(|_| (), Path::new("/none.pt").into(), None), &["/none.pt"]);
}
