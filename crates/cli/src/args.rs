//! The command line.

use crate::commands::{bench, demo, doctor, eval, extract, index, matching, model, query, show, town, train};
use crate::common::Machine;
use clap::{Parser, Subcommand};
use clap_complete::Shell;

/// Where was this photo taken?
///
/// r2former turns photographs with known positions into an index, and tells for any other
/// photograph which of those places it shows.
#[derive(Debug, Parser)]
#[command(name = "r2former", version, max_term_width = 100, after_help = EXAMPLES, propagate_version = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) machine: Machine,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  See it work, with nothing but this program:
    r2former demo
  Build an index from photos that carry GPS, and ask it:
    r2former index create places
    r2former index add places ~/photos
    r2former query places holiday.jpg
  Positions in a table (path,lat,lon), a prior of 500 m, answers for a GIS:
    r2former index add places positions.csv
    r2former query places *.jpg --near 52.205,0.119 --radius 500 --geojson
  Use a published checkpoint:
    r2former model import CVPR23_DeitS_Rerank.pth r2former.safetensors
    r2former index create places --model r2former.safetensors
  Compare two photos, see why they match, measure a dataset:
    r2former match a.jpg b.jpg
    r2former show matches a.jpg b.jpg --out matches.svg
    r2former eval pairs --database db --queries q --positives positives.csv --report report
  Train on your own streets, and go on after an interruption:
    r2former train preset global > global.toml
    r2former train global --config global.toml --out run
    r2former train global --config global.toml --out run --resume

Exit codes: 0 done; 1 error; 2 wrong command line; 3 done, but some inputs could not be
used (each is named); 4 another process is writing to the index.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build, change and inspect a place index.
    #[command(subcommand)]
    Index(index::IndexCommand),
    /// Ask an index where photographs were taken.
    Query(query::QueryArgs),
    /// Draw what the model sees and finds, as SVG pictures for any browser.
    #[command(subcommand)]
    Show(show::ShowCommand),
    /// Compare two photographs.
    Match(matching::MatchArgs),
    /// Write descriptors of photographs to a file.
    Extract(extract::ExtractArgs),
    /// Measure recall on a dataset.
    #[command(subcommand)]
    Eval(eval::EvalCommand),
    /// Import and inspect models.
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// The whole journey on a small rendered town: index it, query it, measure it.
    Demo(demo::DemoArgs),
    /// Render a town as a dataset: photos with positions, by day, at dusk, at night, in rain.
    Town(town::TownArgs),
    /// Train a model, a stage at a time.
    #[command(subcommand)]
    Train(train::TrainCommand),
    /// Measure this machine: extraction, reranking, search, a whole query.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Check that this machine computes what it should, stage by stage; for bug reports.
    Doctor(doctor::DoctorArgs),
    /// Print a completion script for a shell.
    Completions {
        /// bash, elvish, fish, powershell or zsh.
        shell: Shell,
    },
}
