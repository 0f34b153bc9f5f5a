//! `r2former demo`: the whole journey on a rendered town.

use super::town::render;
use crate::common::{Machine, load_model};
use crate::exit::ExitStatus;
use crate::output::{self, AnswerFormat, print_answers, print_json};
use crate::progress::Bar;
use anyhow::{Context, Result};
use clap::Args;
use r2former_data::dataset::{Kind, Listing, SourceOptions, from_listings, list_photos};
use r2former_engine::{Extractor, LocateOptions, PlaceIndex, Rerank, Settings, add_photos, locate};
use r2former_eval::{EmptyQueries, EvalOptions, EvalReport, Keeping, QueriesAs, Rules, evaluate};
use r2former_index::{ReadPlaces, SearchMode};
use r2former_town::{Condition, TownDatasetConfig};
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Keep photos and index in this new folder; otherwise they are removed at the end.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Model file [default: the one built in].
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Another number is another town.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Two references this close count as the same place in the small town: about one house.
const RADIUS_M: f64 = 15.0;

const CONDITIONS: [Condition; 3] = [Condition::Day, Condition::Rain, Condition::Night];

pub(crate) fn run(args: &DemoArgs, machine: &Machine) -> Result<ExitStatus> {
    let temporary =
        tempfile::tempdir().context("no temporary folder can be made; name one with --keep DIR")?;
    let dir = match &args.keep {
        Some(dir) => {
            std::fs::create_dir(dir).with_context(|| format!("{}: must be a new folder", dir.display()))?;
            dir.as_path()
        }
        None => temporary.path(),
    };
    let loaded = load_model(args.model.as_deref())?;
    let settings = Settings::of(&loaded.config);
    let trained = loaded.config.trained;
    let rerank = Rerank::default_of(&loaded.config);
    let mut out = output::stdout();
    let quiet = args.json;

    say(
        &mut out,
        quiet,
        "1. Rendering a small town: streets by day for the index, other visits for the queries.".into(),
    )?;
    let photos = dir.join("town");
    let config = TownDatasetConfig {
        spacing: 16.0,
        n_queries: 30,
        queries: CONDITIONS.to_vec(),
        seed: args.seed,
        ..Default::default()
    };
    let [database, queries] = render(&photos, args.seed, [3, 3], &config)?;
    say(
        &mut out,
        quiet,
        format!("   {database} photos with positions, {queries} queries of other days, in rain and at night"),
    )?;

    say(&mut out, quiet, format!("2. Building an index with model {}.", loaded.config.name))?;
    let index = PlaceIndex::create(&dir.join("index"), &loaded, settings)?;
    let extractor = machine.extractor(loaded, settings)?;
    let listing = list_photos(&photos.join("database.csv"), Some(Kind::Csv), &SourceOptions::default())?;
    let started = std::time::Instant::now();
    let mut writer = index.writer()?;
    let report = add_photos(&mut writer, &extractor, &listing.photos, &Bar::default())?;
    drop(writer);
    let rate = report.added as f64 / started.elapsed().as_secs_f64();
    let info = index.reader()?.info()?;
    say(
        &mut out,
        quiet,
        format!(
            "   {} images at {rate:.1} images/s, {} an image on disk",
            report.added,
            output::bytes(info.bytes_per_image().round() as u64)
        ),
    )?;

    say(&mut out, quiet, "3. Asking where one photo was taken:".into())?;
    let asked = list_photos(&photos.join("queries.csv"), Some(Kind::Csv), &SourceOptions::default())?;
    let options = LocateOptions {
        top: 3,
        candidates: 100,
        rerank,
        adaptive: None,
        near: None,
        mode: SearchMode::Exact,
    };
    let first = asked.photos.first().context("the town has no queries")?;
    let answer = locate(&index.reader()?, &extractor, &first.path, &options)?;
    if !args.json {
        print_answers(&mut out, std::slice::from_ref(&answer), &[], AnswerFormat::Text { timing: true })?;
        if let Some(truth) = first.position {
            out.line(format_args!("   (taken at {:.6}, {:.6})", truth.lat, truth.lon))?;
        }
        out.line(format_args!("4. Measuring recall within {RADIUS_M} m, exact search:"))?;
    }
    let report = measure(listing, asked, &extractor, rerank)?;
    if args.json {
        return print_json(&json!({
            "database": database, "queries": queries, "images_per_second": rate, "answer": answer,
            "trained": trained, "eval": report,
        }));
    }
    out.line(format_args!("   {:<18}{:>8}{:>8}{:>8}", "queries", "R@1", "R@5", "R@10"))?;
    for (condition, group) in report.recall_by.iter().flat_map(|by| &by.groups) {
        let row = |name: &str, recall: &r2former_eval::Recall| {
            let percent = |n| 100.0 * recall.at(n);
            format!("   {name:<18}{:>7.1}%{:>7.1}%{:>7.1}%", percent(1), percent(5), percent(10))
        };
        out.line(format_args!("{}", row(condition, &group.recall.global)))?;
        if let Some(reranked) = &group.recall.reranked {
            out.line(format_args!("{}", row(&format!("{condition}, reranked"), reranked)))?;
        }
    }
    if !trained.global {
        out.line(format_args!(
            "What this shows: the journey, not the method's strength. This model was never trained for places,\n\
             so answers are in order of how alike photos look."
        ))?;
    }
    if args.keep.is_some() {
        out.line(format_args!("Kept: r2former query {} PHOTO", index.dir().display()))?;
    }
    Ok(ExitStatus::Done)
}

fn say(out: &mut output::Out, quiet: bool, text: String) -> Result<()> {
    if quiet { Ok(()) } else { out.line(format_args!("{text}")) }
}

/// Recall of all queries and of each condition.
fn measure(database: Listing, queries: Listing, extractor: &Extractor, rerank: Rerank) -> Result<EvalReport> {
    let options = EvalOptions {
        rules: Rules {
            radius_m: RADIUS_M,
            empty_queries: EmptyQueries::Drop,
            report_by: vec!["condition".into()],
            ..Default::default()
        },
        rerank: vec![rerank],
        candidates: 100,
        adaptive: None,
        keeping: Keeping::default(),
        queries_as: QueriesAs::default(),
    };
    let dataset = from_listings("rendered town".to_string(), database, queries);
    Ok(evaluate(&dataset, extractor, &options, &Bar::default())?.report)
}
