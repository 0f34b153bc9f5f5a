//! `r2former doctor`: does this device compute what the CPU's reference computes?

use crate::common::{Machine, build, load_model};
use crate::exit::ExitStatus;
use crate::output::{self, bytes, print_json};
use crate::progress::Bar;
use anyhow::{Result, bail};
use clap::Args;
use r2former_engine::doctor::{self, Environment, Extent, Options, Report, StageReport, Verdict};
use r2former_model::device::describe;
use r2former_model::{DeviceInfo, parse_device};
use serde::Serialize;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Model to check the device with [default: the one built in].
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Check each stage once, in f32, in a few seconds: what a command does before it first uses a device.
    #[arg(long)]
    short: bool,
    /// Print JSON: environment, device, and every comparison of every stage.
    #[arg(long)]
    json: bool,
}

/// Everything that the command found.
#[derive(Serialize)]
struct Found<'a> {
    build: String,
    environment: Environment,
    device: &'a DeviceInfo,
    agrees: bool,
    report: &'a Report,
}

pub(crate) fn run(args: &DoctorArgs, machine: &Machine) -> Result<ExitStatus> {
    let device = parse_device(machine.name()?)?;
    let environment = Environment::here();
    let info = doctor::guarded(|| Ok(describe(&machine.device, &device)))?;
    let loaded = load_model(args.model.as_deref())?;
    if !args.json {
        print_environment(&environment, &info)?;
        output::stdout().line(format_args!(
            "model      {}, SHA-256 {}",
            loaded.config.name,
            loaded.fingerprint.get(..16).unwrap_or(&loaded.fingerprint)
        ))?;
    }
    let mut options = Options::new(if args.short { Extent::Short } else { Extent::Full });
    options.stages.extend(r2former_train::doctor::stages());
    let report = doctor::check(&loaded, &device, &options, &Bar::default())?;
    if args.json {
        let agrees = report.agrees();
        print_json(&Found { build: build(), environment, device: &info, agrees, report: &report })?;
    } else {
        print_stages(&report, &info)?;
    }
    let faults = report.stages.iter().filter(|stage| !stage.is_sound()).count();
    match report.first_fault() {
        None => Ok(ExitStatus::Done),
        Some(first) => bail!(
            "{info}: {faults} of {} stages wrong, the first in the order of the pipeline: {}",
            report.stages.len(),
            first.stage
        ),
    }
}

fn print_environment(environment: &Environment, device: &DeviceInfo) -> Result<()> {
    let e = environment;
    let mut out = output::stdout();
    out.line(format_args!("r2former   {}", build()))?;
    out.line(format_args!("system     {}", e.system))?;
    let bf16 = if e.cpu_bf16 { ", bf16" } else { "" };
    out.line(format_args!("processor  {}: {} cores, {}{bf16}", e.processor, e.cores, e.cpu_level))?;
    out.line(format_args!("threads    {}", e.threads))?;
    out.line(format_args!("memory     {}, {} available", bytes(e.memory_bytes), bytes(e.available_bytes)))?;
    out.line(format_args!("device     {device}"))?;
    Ok(())
}

fn print_stages(report: &Report, device: &DeviceInfo) -> Result<()> {
    let mut out = output::stdout();
    out.line(format_args!(""))?;
    out.line(format_args!(
        "{:<20}  {:<4}  {:>9}  {:>9}  {:<12}  {:>8}  {:>9}  worst input",
        "stage", "", "deviation", "tolerance", "verdict", "device", "reference"
    ))?;
    for stage in &report.stages {
        out.line(format_args!("{}", row(stage).trim_end()))?;
    }
    out.line(format_args!(""))?;
    out.line(format_args!(
        "Deviations are relative to the largest value of the reference. Times are in ms."
    ))?;
    let verdict = match report.agrees() {
        true => "agrees with the reference in every stage",
        false => "does not agree with the reference",
    };
    out.line(format_args!("{device} {verdict} ({:.1} s).", report.seconds))?;
    Ok(())
}

fn row(stage: &StageReport) -> String {
    let verdict = match &stage.verdict {
        Verdict::Agrees => "agrees",
        Verdict::Disagrees => "DISAGREES",
        Verdict::Failed(_) => "FAILED",
        Verdict::Unsupported(_) => "unsupported",
        _ => "not in model",
    };
    let head = format!("{:<20}  {:<4}", stage.stage, stage.precision.to_string());
    let reason = match &stage.verdict {
        Verdict::Failed(reason) | Verdict::Unsupported(reason) => reason.lines().next().unwrap_or_default(),
        _ => "",
    };
    let Some(worst) = stage.worst() else {
        return format!("{head}  {:>9}  {:>9}  {verdict:<12}  {:>8}  {:>9}  {reason}", "", "", "", "");
    };
    let [device, reference] = stage.milliseconds();
    format!(
        "{head}  {:>9.1e}  {:>9.1e}  {verdict:<12}  {device:>8.0}  {reference:>9.0}  {}",
        worst.deviation, worst.tolerance, worst.input
    )
}
