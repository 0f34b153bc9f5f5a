//! `r2former shards check`: is the job whole?

use crate::exit::ExitStatus;
use crate::output::{self, escaped, print_json};
use crate::shards::SUFFIX;
use anyhow::{Context, Result, bail};
use clap::Args;
use r2former_engine::{JobReport, LeftOut, ShardManifest, check_job};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How many left out photographs are named; JSON names all.
const NAMED: usize = 5;

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Manifests of one job, or folders of them (files called NAME.shard-I-of-N.json).
    #[arg(required = true)]
    manifests: Vec<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &CheckArgs) -> Result<ExitStatus> {
    let mut manifests = Vec::new();
    for path in &args.manifests {
        for file in files(path)? {
            let manifest = ShardManifest::read(&file)?;
            manifests.push((file, manifest));
        }
    }
    let report = check_job(&manifests);
    if args.json {
        print_json(&report)?;
    } else {
        print(&report)?;
    }
    match report.whole {
        true => Ok(ExitStatus::Done),
        false => bail!("the job is not whole: {}; run those shards again", lacking(&report)),
    }
}

/// The manifests that an argument stands for.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let read = || format!("{}: cannot be read", path.display());
    let mut files = Vec::new();
    for entry in path.read_dir().with_context(read)? {
        let entry = entry.with_context(read)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.contains(".shard-") && name.ends_with(SUFFIX) {
            files.push(entry.path());
        }
    }
    if files.is_empty() {
        bail!(
            "{}: no manifest in this folder: files called NAME.shard-I-of-N.json are needed",
            path.display()
        );
    }
    files.sort();
    Ok(files)
}

fn numbers(shards: &[u32]) -> String {
    shards.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What keeps a job from being whole.
fn lacking(report: &JobReport) -> String {
    let mut parts = Vec::new();
    if !report.missing.is_empty() {
        parts.push(format!("without a manifest: {} of {}", numbers(&report.missing), report.of));
    }
    if !report.unfinished.is_empty() {
        let shards: Vec<u32> = report.unfinished.iter().map(|one| one.shard).collect();
        parts.push(format!("not finished: {} of {}", numbers(&shards), report.of));
    }
    if !report.differences.is_empty() {
        parts.push(format!("{} manifests are of another job", report.differences.len()));
    }
    parts.join("; ")
}

fn print(report: &JobReport) -> Result<()> {
    let mut out = output::stdout();
    out.line(format_args!("finished  {} of {} shards", report.finished.len(), report.of))?;
    for one in &report.unfinished {
        let why = one.error.as_deref().unwrap_or("runs, or was killed");
        out.line(format_args!(
            "not done  {}: {} (begun {}, {})",
            one.shard,
            escaped(why),
            one.started,
            escaped(&one.manifest.display().to_string())
        ))?;
    }
    if !report.missing.is_empty() {
        out.line(format_args!("missing   {}", numbers(&report.missing)))?;
    }
    for difference in &report.differences {
        out.line(format_args!("differs   {}", escaped(difference)))?;
    }
    out.line(format_args!("listed    {}", report.work.listed))?;
    out.line(format_args!("added     {}", report.work.added))?;
    let counts = [
        ("in place", report.work.already_indexed, "already indexed"),
        ("updated", report.work.updated, "changed since they were added"),
        ("changed", report.work.changed, "not taken (--update takes them)"),
        ("cut", report.work.truncated, "added although cut short"),
    ];
    for (word, count, what) in counts.into_iter().filter(|(_, count, _)| *count > 0) {
        out.line(format_args!("{word:<9} {count} {what}"))?;
    }
    let mut kinds: BTreeMap<&str, Vec<&LeftOut>> = BTreeMap::new();
    for skipped in &report.work.skipped {
        kinds.entry(&skipped.kind).or_default().push(skipped);
    }
    for (kind, all) in kinds {
        out.line(format_args!("left out  {} {}", all.len(), kind.replace('_', " ")))?;
        for one in all.iter().take(NAMED) {
            out.line(format_args!("          {}: {}", escaped(&one.path), escaped(&one.reason)))?;
        }
        if all.len() > NAMED {
            out.line(format_args!("          and {} more (--json lists all)", all.len() - NAMED))?;
        }
    }
    for target in &report.targets {
        out.line(format_args!("wrote     {}", escaped(target)))?;
    }
    Ok(())
}
