//! One module per command.

pub(crate) mod bench;
pub(crate) mod bench_eval;
pub(crate) mod bench_index;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod eval;
pub(crate) mod extract;
pub(crate) mod index;
pub(crate) mod matching;
pub(crate) mod model;
mod priors;
pub(crate) mod query;
pub(crate) mod sequence;
pub(crate) mod serve;
pub(crate) mod shards;
pub(crate) mod show;
pub(crate) mod town;
pub(crate) mod train;

use crate::args::{Args, Command};
use crate::exit::ExitStatus;
use clap::CommandFactory;
use std::io::Write;

/// Carries out what the command line asks.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitStatus> {
    let machine = args.machine;
    machine.set_threads()?;
    match args.command {
        Command::Index(command) => index::run(command, &machine),
        Command::Query(args) => query::run(&args, &machine),
        Command::Serve(args) => serve::run(&args, &machine),
        Command::Show(command) => show::run(&command, &machine),
        Command::Match(args) => matching::run(&args, &machine),
        Command::Extract(args) => extract::run(&args, &machine),
        Command::Shards(command) => shards::run(&command),
        Command::Eval(command) => eval::run(&command, &machine),
        Command::Model(command) => model::run(&command, &machine),
        Command::Demo(args) => demo::run(&args, &machine),
        Command::Town(args) => town::run(&args),
        Command::Train(command) => train::run(&command, &machine),
        Command::Bench(command) => bench::run(&command, &machine),
        Command::Doctor(args) => doctor::run(&args, &machine),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "r2former", &mut script);
            std::io::stdout().lock().write_all(&script)?;
            Ok(ExitStatus::Done)
        }
    }
}
