//! A sized preset as text.

use super::choose::Choices;
use crate::config::commented::{VALIDATION, validation_example, write_keys};
use crate::estimate::{Estimate, duration};
use crate::pool::Pool;
use crate::run::Measured;
use crate::{Result, TrainError};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;

/// Characters per line of a comment, without its "# ".
const WIDTH: usize = 116;

/// The commented configuration, with what was found at the top.
pub(super) fn text(
    choices: &Choices,
    file: &Path,
    minutes: f64,
    pool: &Pool,
    measured: &Measured,
    total: &Estimate,
) -> Result<String> {
    let stage = choices.config.stage.name();
    let mut head = format!("# Stage {stage} with the keys of {}", one_line(&file.display().to_string()));
    let sized = ["schedule.epochs", "schedule.steps"].iter().any(|key| choices.chosen.contains(key));
    match sized {
        true => head += &format!(", sized to about {minutes} min on this machine.\n"),
        false => head += ", whose schedule is kept.\n",
    }
    let paired = (0..pool.len()).filter(|item| !pool.positives(*item).is_empty()).count();
    let mut line = |text: String| head += &format!("# {text}\n");
    let without = match pool.left_out().len() {
        0 => String::new(),
        count => format!("; {count} left out"),
    };
    line(format!("{} photographs, {paired} of them with another of the same place{without}.", pool.len()));
    let mut times = format!("A step takes {}", duration(total.steps.1));
    if let (Some(timed), (1.., each)) = (&measured.validation, total.validations) {
        let most = choices.config.validation.as_ref().map_or(0, |validation| validation.max_queries);
        let queries = timed.queries_of(most);
        times += &format!(
            ", a validation {} ({queries} queries, {} references)",
            duration(each),
            timed.references
        );
    }
    match total.mining {
        (0, _) => {}
        (_, each) if choices.config.batch.cached_views > 0 => {
            times += &format!(", an extraction of cached views {}", duration(each));
        }
        (_, each) => times += &format!(", a mining pass {}", duration(each)),
    }
    line(times + ".");
    line(format!("{}.", total.to_string().replacen('e', "E", 1)));
    if sized && total.seconds() > 1.25 * 60.0 * minutes {
        line(format!(
            "That is more than {minutes} min: validate fewer queries or references, or give it more time (--minutes)."
        ));
    }
    if !choices.chosen.is_empty() {
        let chosen = format!("Chosen by data and machine: {}.", choices.chosen.join(", "));
        wrapped(&chosen).into_iter().for_each(&mut line);
    }
    line("Paths are absolute, so that this file may lie anywhere.".into());
    line(format!("Run it: r2former train {stage} --config FILE --out DIR"));
    choices.config.commented(&head, &data(choices)?)
}

/// The sections of sources and validation, with the keys that the file sets.
fn data(choices: &Choices) -> Result<String> {
    let mut text = String::from("# Training photographs.\n");
    let given = choices.given.get("data").and_then(toml::Value::as_array).map_or(&[][..], Vec::as_slice);
    for (source, given) in choices.config.data.iter().zip(given) {
        text.push_str("[[data]]\n");
        let Some(given) = given.as_table() else { continue };
        set_keys(&mut text, &written(source)?, |key| given.contains_key(key));
        text.push('\n');
    }
    let Some(validation) = &choices.config.validation else { return Ok(text + &validation_example()) };
    text.push_str("# Validation before step 1 and after epochs.\n[validation]\n");
    let table = written(validation)?;
    let given = choices.given.get("validation").and_then(toml::Value::as_table);
    let own = |key: &str| VALIDATION.iter().any(|(name, _, _)| *name == key);
    set_keys(&mut text, &table, |key| !own(key) && given.is_some_and(|given| given.contains_key(key)));
    write_keys(&mut text, &table, VALIDATION);
    Ok(text)
}

fn written(section: &impl Serialize) -> Result<toml::Table> {
    toml::Table::try_from(section).map_err(|e| TrainError::Config(e.to_string()))
}

/// Lines of at most [`WIDTH`] characters, where words allow it.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Without line breaks and the like, which would end a comment.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The kind, and other keys that are `wanted`.
fn set_keys(text: &mut String, table: &toml::Table, wanted: impl Fn(&str) -> bool) {
    let (kind, others): (Vec<_>, Vec<_>) =
        table.iter().filter(|(key, _)| wanted(key)).partition(|(key, _)| *key == "kind");
    for (key, value) in kind.into_iter().chain(others) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{key} = {value}");
    }
}
