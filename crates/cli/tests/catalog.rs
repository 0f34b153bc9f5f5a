//! `r2former model catalog`: as text and as JSON.

mod common;

use common::r2former;

#[test]
fn models_are_listed_with_both_licences() {
    let all = r2former().args(["model", "catalog", "--json"]).assert().success();
    let all: serde_json::Value = serde_json::from_slice(&all.get_output().stdout).expect("JSON");
    let models = all["models"].as_array().expect("a list");
    assert!(models.len() > 20);
    for model in models {
        assert!(model["code_license"].is_string() && model["weights_license"].is_string(), "{model}");
    }

    let some = r2former().args(["model", "catalog", "mixVPR"]).assert().success();
    let text = String::from_utf8_lossy(&some.get_output().stdout).into_owned();
    assert!(text.starts_with("MixVPR (ResNet-50 to layer3)\n"), "{text}");
    assert!(text.contains("licence      code not stated; weights not stated"), "{text}");
    assert!(!text.contains("CosPlace"), "{text}");
}
