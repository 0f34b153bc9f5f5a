//! The `r2former` program: parses, calls, prints.

mod args;
mod commands;
mod common;
mod descriptor_file;
mod exit;
mod filters;
mod output;
mod photos;
mod progress;
mod remote;
mod shards;
mod tensors;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = args::Args::parse();
    exit::report(|| commands::run(args))
}
