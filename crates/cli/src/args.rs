//! The command line.

use crate::commands::{
    bench, demo, doctor, eval, extract, index, matching, model, query, serve, shards, show, town, train,
};
use crate::common::Machine;
use clap::{Parser, Subcommand};
use clap_complete::Shell;

/// Find out where a photo was taken, from an index of photos with known positions.
///
/// A query photo is compared with every indexed photo by a global descriptor; the best candidates are then
/// reranked by their local features.
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
  Try it, with nothing but this program:
    r2former demo
  Index photos that carry GPS, and locate another one:
    r2former index create places
    r2former index add places ~/photos
    r2former query places holiday.jpg
  Take positions from a table (path,lat,lon); search within 500 m of a point; write GeoJSON:
    r2former index add places positions.csv
    r2former query places *.jpg --near 52.205,0.119 --radius 500 --geojson
  Let apps and robots ask over HTTP:
    r2former serve places
    curl --data-binary @holiday.jpg http://127.0.0.1:8080/v1/locate
  Use a published checkpoint:
    r2former model import CVPR23_DeitS_Rerank.pth r2former.safetensors
    r2former index create places --model r2former.safetensors
  Compare two photos, draw their matches, measure recall on a dataset:
    r2former match a.jpg b.jpg
    r2former show matches a.jpg b.jpg --out matches.svg
    r2former eval pairs --database db --queries q --positives positives.csv --report report
  Train on your own streets, and resume after an interruption:
    r2former train preset global > global.toml
    r2former train global --config global.toml --out run
    r2former train global --config global.toml --out run --resume

Exit codes:
  0  done
  1  error: nothing was done, or not all of it
  2  wrong command line
  3  done, but some inputs could not be used (each is named)
  4  another process is writing to the index";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create, fill and inspect a place index.
    #[command(subcommand)]
    Index(index::IndexCommand),
    /// Locate photos: find the places of an index that they show.
    Query(query::QueryArgs),
    /// Answer queries over HTTP: locate photos, add and remove places.
    Serve(serve::ServeArgs),
    /// Draw attention, matches and misses as SVG.
    #[command(subcommand)]
    Show(show::ShowCommand),
    /// Compare two photos.
    Match(matching::MatchArgs),
    /// Write the descriptors of photos to a file.
    Extract(extract::ExtractArgs),
    /// Work that several machines share by `--shard`: is it whole, and one file of their files.
    #[command(subcommand)]
    Shards(shards::ShardsCommand),
    /// Measure recall on datasets; compare and ablate.
    #[command(subcommand)]
    Eval(eval::EvalCommand),
    /// Import, copy, average and inspect models.
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// Try everything on a small rendered town: index, query, recall.
    Demo(demo::DemoArgs),
    /// Render a synthetic town as a dataset: photos with positions, by day, dusk, night and rain.
    Town(town::TownArgs),
    /// Train a model, stage by stage.
    #[command(subcommand)]
    Train(train::TrainCommand),
    /// Measure speed on this machine: extraction, reranking, search, a whole query.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Check that this machine computes what it should, stage by stage; for bug reports.
    ///
    /// Runs every stage (pixels to tokens, a block, attention, selection of local features, both heads,
    /// correlation, best matches, both stacks of the reranker, logits, loss and gradients of a training step) on
    /// the device and in plain operations on the CPU, on noise and on synthetic photographs, and prints the
    /// largest deviation of each. On the CPU itself the fused kernels are compared with the plain operations.
    ///
    /// Exit code 1 if a stage disagrees or fails.
    Doctor(doctor::DoctorArgs),
    /// Print a completion script for a shell.
    Completions {
        /// bash, elvish, fish, powershell or zsh.
        shell: Shell,
    },
}
