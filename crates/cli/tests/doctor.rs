//! `r2former doctor`, and devices that are not there.

mod common;

use common::{fails, names, r2former};

#[test]
fn the_cpu_is_sound() {
    let output = r2former().args(["doctor", "--short"]).assert().success().get_output().clone();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let stages = [
        "pixels to tokens",
        "block",
        "attention",
        "selection",
        "global head",
        "local head",
        "correlation",
        "best matches",
        "feature blocks",
        "pair blocks",
        "logits",
        "loss of a step",
        "gradients of a step",
    ];
    names(&text, &stages);
    names(&text, &["r2former  ", "processor  ", "memory  ", "device     cpu", "model      r2former-tiny"]);
    names(&text, &["agrees with the reference in every stage"]);
    assert!(!text.contains("DISAGREES") && !text.contains("FAILED"), "{text}");
}

#[test]
fn json_has_environment_device_and_every_comparison() {
    let output = r2former().args(["doctor", "--short", "--json"]).assert().success().get_output().clone();
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!(found["agrees"], true);
    assert_eq!(found["device"]["device"], "cpu");
    assert!(found["environment"]["cores"].as_u64() >= Some(1));
    assert!(found["environment"]["memory_bytes"].as_u64() > Some(1 << 20));
    let stages = found["report"]["stages"].as_array().expect("stages");
    assert_eq!(stages.len(), 13);
    for stage in stages {
        assert_eq!(stage["verdict"], "agrees", "{stage}");
        for comparison in stage["comparisons"].as_array().expect("comparisons") {
            assert!(comparison["deviation"].as_f64() <= comparison["tolerance"].as_f64(), "{stage}");
        }
    }
}

#[test]
fn a_device_that_is_not_there_is_an_error_with_a_cure() {
    for kind in ["cuda", "rocm", "vulkan", "metal", "wgpu"] {
        if r2former_model::device::FEATURES.contains(&kind) {
            continue;
        }
        let said = fails(r2former().args(["doctor", "--device", kind]), 2);
        names(&said, &[&format!("--features {kind}"), "--device cpu"]);
    }
    names(&fails(r2former().args(["doctor", "--device", "webgpu"]), 2), &["use wgpu"]);
    names(&fails(r2former().args(["match", "a.jpg", "b.jpg", "--device", "gpu"]), 2), &["cpu, or cuda"]);
}
