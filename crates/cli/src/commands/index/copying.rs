//! `r2former index copy`: indexes into another one.

use super::changes::change;
use super::collection::CollectionArgs;
use crate::common::index_address;
use crate::exit::ExitStatus;
use crate::output::{self, bytes, escaped, print_json};
use crate::progress::Bar;
use anyhow::{Result, bail};
use clap::Args;
use r2former_engine::{
    CopyOptions, CopyReport, Difference, EngineError, IndexAddress, PlaceIndex, VerifySamples, copy_index,
};
use serde_json::json;
use std::time::Instant;

/// How many of a list are named; JSON names more.
const NAMED: usize = 5;

#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// Indexes to copy, of one model: folders, or collections as qdrant://HOST:PORT/COLLECTION.
    #[arg(required = true, num_args = 1.., value_parser = index_address())]
    from: Vec<IndexAddress>,
    /// Index that takes their images, a folder or a collection. Where there is none it is created like the first.
    #[arg(value_parser = index_address())]
    to: IndexAddress,
    /// Replace images of the same name whose content is another; of several indexes the last one decides. Without this, they
    /// stay as they are, each is named, and the exit code is 1.
    #[arg(long)]
    update: bool,
    /// A label that stands for another folder in one of the indexes is that of a source that was moved: the last one counts.
    /// Without this, nothing is copied.
    #[arg(long)]
    moved: bool,
    /// Images to read again from both sides and compare at the end, spread over all of them; 0 for none.
    #[arg(long, value_name = "N", default_value_t = VerifySamples::USUAL)]
    verify_samples: usize,
    /// Compare all images.
    #[arg(long, conflicts_with = "verify_samples")]
    verify_all: bool,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
    // Last: its heading is that of everything after it.
    #[command(flatten)]
    collection: CollectionArgs,
}

pub(super) fn copy(args: &CopyArgs) -> Result<ExitStatus> {
    args.collection.check(&args.to)?;
    let from = args.from.iter().map(PlaceIndex::open).collect::<Result<Vec<_>, EngineError>>()?;
    let Some((first, others)) = from.split_first() else { bail!("there is nothing to copy") };
    // Before anything is created.
    for other in others {
        first.check_alike(other)?;
    }
    let to = PlaceIndex::open_or_create_like(&args.to, first, &args.collection.options())?;
    let verify = match args.verify_all {
        true => VerifySamples::All,
        false => VerifySamples::Some(args.verify_samples),
    };
    let options = CopyOptions::default().update(args.update).moved(args.moved).verify(verify);
    let started = Instant::now();
    let done = copy_index(&from, &to, &options, &Bar::default())?;
    report(args, &done, started.elapsed().as_secs_f64())?;
    let (problems, differing) = (done.verified.problems.len(), done.differing);
    match (problems, differing) {
        (0, 0) => Ok(ExitStatus::Done),
        (0, 1) => {
            bail!("1 image differs from the target's of its name, which stays; --update takes the new one")
        }
        (0, _) => bail!(
            "{differing} images differ from the target's of their names, which stay; --update takes the new ones"
        ),
        _ => bail!(
            "{}: the copy is not what was read: {problems} problems; see `r2former index verify`",
            args.to
        ),
    }
}

fn report(args: &CopyArgs, done: &CopyReport, seconds: f64) -> Result<()> {
    for Difference { name, from, changes } in done.differences.iter().take(NAMED) {
        let changes: Vec<String> = changes.iter().map(change).collect();
        let words = if args.update { "updated" } else { "differs, and stays" };
        eprintln!("{words}: {} ({}): {}", escaped(name), escaped(from), escaped(&changes.join("; ")));
    }
    let all = done.differing + done.updated;
    if all > NAMED {
        eprintln!("and {} more (--json names up to {})", all - NAMED, CopyReport::NAMED);
    }
    for problem in done.verified.problems.iter().take(NAMED) {
        let name = problem.name.as_deref().unwrap_or("index");
        eprintln!("problem: {}: {}", escaped(name), escaped(&problem.what));
    }
    let rate = (done.copied + done.updated) as f64 / seconds;
    if args.json {
        let mut document = serde_json::to_value(done)?;
        document["from"] = args.from.iter().map(ToString::to_string).collect();
        document["to"] = args.to.to_string().into();
        document["seconds"] = json!(seconds);
        document["images_per_second"] = json!(rate);
        return print_json(&document).map(drop);
    }
    let mut out = output::stdout();
    out.line(format_args!(
        "copied {} images ({rate:.1} images/s, {}); {} already there{}{}",
        done.copied,
        bytes(done.bytes),
        done.already_there,
        counted(done.updated, "updated"),
        counted(done.differing, "differ, not taken"),
    ))?;
    let verified = &done.verified;
    out.line(format_args!(
        "{}: {} images; {} compared with their source, {} problems",
        args.to,
        verified.images,
        verified.samples,
        verified.problems.len()
    ))?;
    Ok(())
}

/// `; 2 updated`, or nothing.
fn counted(count: usize, words: &str) -> String {
    if count == 0 { String::new() } else { format!("; {count} {words}") }
}
