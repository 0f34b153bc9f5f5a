//! Inlier counts beside OpenCV's on the same matches (`ransac/export.py`): equal within the noise of sampling.

#![allow(missing_docs, reason = "a test")]

use r2former_kernels::Level;
use r2former_kernels::ransac::{Correspondence, RansacOptions, ransac};
use serde_json::Value;

#[test]
fn inlier_counts_equal_opencvs() {
    let golden: Value = serde_json::from_str(include_str!("ransac/golden.json")).unwrap();
    let tolerance = golden["tolerance"].as_f64().unwrap() as f32;
    for (number, case) in golden["cases"].as_array().unwrap().iter().enumerate() {
        let pairs: Vec<Correspondence> = case["pairs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| {
                let at = |i: usize| pair[i].as_f64().unwrap() as f32;
                Correspondence { query: [at(0), at(1)], reference: [at(2), at(3)] }
            })
            .collect();
        let count = |seed| {
            let options = RansacOptions { seed, ..RansacOptions::within(tolerance) };
            ransac(Level::best(), &pairs, &options).map_or(0, |found| found.count as u64)
        };
        let counts: Vec<u64> = (0..25).map(count).collect();
        let (mean, most) = (counts.iter().sum::<u64>() as f64 / 25.0, *counts.iter().max().unwrap());
        let (expected, highest) = (case["mean"].as_f64().unwrap(), case["highest"].as_u64().unwrap());
        assert!(
            (mean - expected).abs() <= 1.0 && most.abs_diff(highest) <= 1,
            "case {number}: {mean} on average, {most} at most; OpenCV {expected} and {highest}"
        );
    }
}
