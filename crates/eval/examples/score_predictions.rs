//! Score ranked lists of any program against ground truth by position: recall@N with intervals, and a paired test of two
//! programs.
//!
//!     cargo run --release -p r2former-eval --example score_predictions
#![allow(clippy::print_stdout)]

use r2former_data::dataset::{Dataset, GroundTruthRule, Sequences};
use r2former_data::{LatLon, Photo};
use r2former_eval::{PredictionFormat, Rules, read_predictions, score};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    // References every 20 m along a meridian; queries halfway between two of them. With the default radius of 25 m each
    // query has the two nearest as positives. `r2former_data::dataset` reads real datasets.
    let database = (0..10).map(|i| photo("db", i, 0.0)).collect::<Result<Vec<_>, _>>()?;
    let queries = (0..8).map(|i| photo("q", i, 10.0)).collect::<Result<Vec<_>, _>>()?;
    let dataset = Dataset {
        left_out: 0,
        name: "a straight street".into(),
        database,
        queries,
        truth: GroundTruthRule::Positions,
        notes: Vec::new(),
        sequences: Sequences::default(),
    };

    // A line per query: its name, then references, best first. The first program is right by one place, the second
    // three places off for every other query.
    let home = tempfile::tempdir()?;
    let mut runs = Vec::new();
    for (name, off) in [("near", [1, 1]), ("far", [1, 3])] {
        let line = |i: usize| format!("q/{i}.jpg,db/{}.jpg,db/{}.jpg\n", (i + off[i % 2]) % 10, i);
        let path = home.path().join(format!("{name}.csv"));
        std::fs::write(&path, (0..8).map(line).collect::<String>())?;
        runs.push(read_predictions(&path, Some(PredictionFormat::Csv), &dataset)?);
    }

    let scores = score(&dataset, &runs, &Rules::default(), &[1, 2])?;
    for run in &scores.summary.runs {
        for (n, interval) in &run.intervals {
            println!(
                "{}: recall@{n} {:.1} % ({:.1} to {:.1})",
                run.name,
                100.0 * interval.value,
                100.0 * interval.low,
                100.0 * interval.high
            );
        }
    }
    let at_1 = |run: usize| scores.summary.runs[run].recall.at(1);
    assert_eq!((at_1(0), at_1(1)), (1.0, 0.5));
    Ok(())
}

/// The i-th photograph of a side, 20 m further north than the one before it.
fn photo(side: &str, i: usize, shift_m: f64) -> Result<Photo, Box<dyn Error>> {
    const METRES_PER_DEGREE: f64 = 111_200.0;
    let name = format!("{side}/{i}.jpg");
    let mut photo = Photo::new(&name, &name);
    photo.position = Some(LatLon::new(52.0 + (20.0 * i as f64 + shift_m) / METRES_PER_DEGREE, 0.0)?.into());
    Ok(photo)
}
