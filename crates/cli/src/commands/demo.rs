//! `r2former demo`: index, query and evaluation on a rendered town.

use super::town::render;
use crate::common::{Machine, load_model};
use crate::exit::{ExitStatus, usage};
use crate::output::{self, AnswerFormat, print_answers, print_json};
use crate::progress::Bar;
use anyhow::{Context, Result};
use clap::Args;
use r2former_data::dataset::{Kind, Listing, SourceOptions, from_listings, list_photos, source_root};
use r2former_data::shell_word;
use r2former_engine::{
    AddOptions, Extractor, LocateOptions, PlaceIndex, QueryResult, RerankMethod, Settings, Source,
    add_photos, locate,
};
use r2former_eval::{EmptyQueries, EvalOptions, EvalSummary, Recall, Rules, evaluate, ranking_name};
use r2former_index::ReadPlaces;
use r2former_server::{ServedIndex, Server, Service, ServiceOptions};
use r2former_town::{Condition, TownDatasetConfig};
use serde_json::json;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Keep photographs and index in this new folder [default: remove them at the end].
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Model file [default: the built-in model].
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Seed of the town.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Serve the town in place of the evaluation, and print the address for a browser; Ctrl-C ends it.
    #[arg(
        long, value_name = "ADDRESS:PORT", num_args = 0..=1, require_equals = true, default_missing_value = "127.0.0.1:8080",
        conflicts_with = "json"
    )]
    serve: Option<SocketAddr>,
}

/// Radius of positives in the small town: about one house.
const RADIUS_M: f64 = 15.0;

const CONDITIONS: [Condition; 3] = [Condition::Day, Condition::Rain, Condition::Night];

pub(crate) fn run(args: &DemoArgs, machine: &Machine) -> Result<ExitStatus> {
    if let Some(listen) = args.serve {
        check_address(listen)?;
    }
    let temporary =
        tempfile::tempdir().context("no temporary folder can be created; name one with --keep DIR")?;
    let dir = match &args.keep {
        Some(dir) => {
            std::fs::create_dir(dir).with_context(|| format!("{}: must be a new folder", dir.display()))?;
            dir.as_path()
        }
        None => temporary.path(),
    };
    let loaded = load_model(args.model.as_deref())?;
    let settings = Settings::of(&loaded.config);
    let (trained, untrained) = (loaded.config.trained, output::untrained(&loaded.config));
    let rerank = RerankMethod::default_of(&loaded.config);
    let mut out = output::stdout();
    let quiet = args.json;

    say(
        &mut out,
        quiet,
        "1. Rendering a small town: streets by day for the index, later visits for the queries.".into(),
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
        format!(
            "   {database} photographs with positions; {queries} queries on other days, in rain and at night"
        ),
    )?;

    say(&mut out, quiet, format!("2. Building an index with model {}.", loaded.config.name))?;
    let index = PlaceIndex::create(dir.join("index"), &loaded, settings)?;
    let extractor = machine.extractor(loaded, settings)?;
    let table = photos.join("database.csv");
    let listing = list_photos(&table, Some(Kind::Csv), &SourceOptions::default())?;
    // As `index add` names them.
    let root = source_root(&table, Some(Kind::Csv), None)?;
    let mut labelled = listing.photos.clone();
    root.label(&mut labelled);
    let options =
        AddOptions::default().sources(vec![Source { label: root.label.clone(), root: root.root_text() }]);
    let started = std::time::Instant::now();
    let mut writer = index.writer()?;
    let report = add_photos(&mut writer, &extractor, &labelled, &options, &Bar::default())?;
    drop(writer);
    let rate = report.added as f64 / started.elapsed().as_secs_f64();
    let info = index.reader()?.info()?;
    say(
        &mut out,
        quiet,
        format!(
            "   {} images at {rate:.1} images/s, {} per image on disk",
            report.added,
            output::bytes(info.bytes_per_image().round() as u64)
        ),
    )?;

    say(&mut out, quiet, "3. Querying one photograph:".into())?;
    let later = list_photos(&photos.join("queries.csv"), Some(Kind::Csv), &SourceOptions::default())?;
    let options = LocateOptions::default().top(3).rerank(rerank);
    let first = later.photos.first().context("the town has no queries")?;
    let answer = locate(&index.reader()?, &extractor, &first.path, &options)?;
    if !args.json {
        let format = AnswerFormat::Text { timing: true };
        print_answers(&mut out, &[QueryResult::Answer(answer.clone())], format, index.positions())?;
        if let Some(truth) = first.lat_lon() {
            out.line(format_args!("   (taken at {:.6}, {:.6})", truth.lat, truth.lon))?;
        }
    }
    if let Some(listen) = args.serve {
        return serve(&mut out, index, extractor, &photos, listen);
    }
    if !args.json {
        out.line(format_args!("4. Evaluating recall within {RADIUS_M} m, with exact search:"))?;
    }
    let summary = measure(listing, later, &extractor, rerank)?;
    if args.json {
        return print_json(&json!({
            "database": database, "queries": queries, "images_per_second": rate, "answer": answer,
            "trained": trained, "eval": summary,
        }));
    }
    out.line(format_args!(
        "   {:<28}{:>9}{:>9}{:>9}{:>9}",
        "ranking", "queries", "R@1, %", "R@5, %", "R@10, %"
    ))?;
    let mut row = |name: String, queries: usize, recall: &Recall| {
        let [first, fifth, tenth] = [1, 5, 10].map(|n| 100.0 * recall.at(n));
        out.line(format_args!("   {name:<28}{queries:>9}{first:>9.1}{fifth:>9.1}{tenth:>9.1}"))
    };
    let all = summary.protocol.queries;
    for (condition, queries, recalls) in std::iter::once(("all", all, &summary.recall)).chain(
        summary
            .recall_by
            .iter()
            .flat_map(|by| &by.groups)
            .map(|(name, group)| (name.as_str(), group.queries, &group.recall)),
    ) {
        for (method, recall) in recalls.iter() {
            row(format!("{condition}, {}", ranking_name(method)), queries, recall)?;
        }
    }
    for sentence in summary.sentences() {
        out.line(format_args!("   {sentence}"))?;
    }
    let (sizes, smallest) = group_sizes(&summary);
    out.line(format_args!(
        "   R@N: share of queries with a positive among their first N matches. With {sizes} queries per condition,\n   \
         one query changes its recall by {:.0} percentage points: read differences between rows with care.",
        100.0 / smallest.max(1) as f64
    ))?;
    if untrained {
        out.line(format_args!(
            "This model was never trained for place recognition: it ranks photographs by general similarity. The demo\n\
             shows how the program works, not how well the method does."
        ))?;
    }
    if args.keep.is_some() {
        out.line(format_args!("Kept: r2former query {} PHOTO", shell_word(&index.address().to_string())))?;
    }
    Ok(ExitStatus::Done)
}

/// Refuses an address before the work is done.
fn check_address(listen: SocketAddr) -> Result<()> {
    if !listen.ip().is_loopback() {
        usage!(
            "--serve={listen}: the town is served to this machine alone, as on 127.0.0.1:8080; `r2former serve` has keys for \
             others"
        );
    }
    TcpListener::bind(listen).map(drop).with_context(|| {
        format!(
            "--serve={listen}: the address cannot be listened on; --serve=127.0.0.1:0 takes any free port"
        )
    })
}

/// Answers about the town until Ctrl-C.
fn serve(
    out: &mut output::Out,
    index: PlaceIndex,
    extractor: Extractor,
    photos: &Path,
    listen: SocketAddr,
) -> Result<ExitStatus> {
    let options = ServiceOptions::default().for_address(listen, Vec::new(), None, false)?;
    let extractor = Arc::new(extractor.with_limits(options.image_limits()));
    let served = ServedIndex { name: "town".into(), index, extractor, photos: Vec::new(), uploads: None };
    let server = Server::start(Service::new(vec![served], options)?, listen, None)?;
    out.line(format_args!("4. Serving the town: open http://{} in a browser.", server.address()))?;
    out.line(format_args!("   Photographs to ask with: {}", photos.join("queries").display()))?;
    out.line(format_args!("   Ctrl-C ends it."))?;
    server.run_until_signal()?;
    Ok(ExitStatus::Done)
}

fn say(out: &mut output::Out, quiet: bool, text: String) -> Result<()> {
    if quiet { Ok(()) } else { out.line(format_args!("{text}")) }
}

/// Recall of all queries and of each condition.
fn measure(
    database: Listing,
    queries: Listing,
    extractor: &Extractor,
    rerank: RerankMethod,
) -> Result<EvalSummary> {
    let rules = Rules {
        radius_m: RADIUS_M,
        empty_queries: EmptyQueries::Drop,
        report_by: vec!["condition".into()],
        ..Default::default()
    };
    let methods = match rerank {
        RerankMethod::Model => vec![RerankMethod::Ransac, RerankMethod::Model],
        other => vec![other],
    };
    let options = EvalOptions::new(rules).rerank(methods);
    let dataset = from_listings("rendered town".to_string(), database, queries);
    Ok(evaluate(&dataset, extractor, &options, &Bar::default())?.summary)
}

/// Queries per condition as text, and those of the smallest one.
fn group_sizes(summary: &EvalSummary) -> (String, usize) {
    let sizes = || summary.recall_by.iter().flat_map(|by| by.groups.values()).map(|group| group.queries);
    let (smallest, largest) = (sizes().min().unwrap_or(0), sizes().max().unwrap_or(0));
    let text = if smallest == largest { smallest.to_string() } else { format!("{smallest} to {largest}") };
    (text, smallest)
}
