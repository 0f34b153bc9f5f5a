//! Variables of MATLAB files: numbers, texts, cells and structures. Those of place recognition are structures of cells
//! of texts.

use crate::{DataError, Result};
use r2former_matlab::{Elements, Head, variables};
use std::path::Path;

/// Bytes of a file, and of what one of its variables unpacks to, at most: the largest dataset's are below 100 MB.
const MOST_BYTES: u64 = 1 << 30;
/// Cells in cells, at most.
const DEEPEST: usize = 16;

/// An array of MATLAB.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// Real numbers, column after column.
    Numbers {
        /// Rows, columns, ...
        shape: Vec<usize>,
        /// As many as the shape says.
        values: Vec<f64>,
    },
    /// A line of text.
    Text(String),
    /// Arrays of any kind, column after column.
    Cells(Vec<Value>),
    /// Fields by name, of the first element.
    Structure(Vec<(String, Value)>),
    /// Anything else.
    Other(&'static str),
}

impl Value {
    /// What it is, for messages.
    pub(super) fn kind(&self) -> String {
        match self {
            Self::Numbers { shape, .. } => {
                let sides: Vec<String> = shape.iter().map(ToString::to_string).collect();
                format!("numbers ({})", sides.join(" x "))
            }
            Self::Text(_) => "a text".into(),
            Self::Cells(all) => format!("{} cells", all.len()),
            Self::Structure(_) => "a structure".into(),
            Self::Other(class) => (*class).into(),
        }
    }
}

/// Reads one variable of a file.
///
/// # Errors
/// [`DataError::Io`]; [`DataError::Format`] for a file that is none of MATLAB's, of another version (`-v7.3`, which
/// is HDF5), cut short or damaged, or without the variable; the message lists its variables.
pub(super) fn read_variable(path: &Path, name: &str) -> Result<Value> {
    let size = std::fs::metadata(path).map_err(|e| DataError::io(path, e))?.len();
    if size > MOST_BYTES {
        return Err(DataError::format(path, None, format!("has {size} bytes; the limit is {MOST_BYTES}")));
    }
    let bytes = std::fs::read(path).map_err(|e| DataError::io(path, e))?;
    variable(&bytes, name).map_err(|problem| DataError::format(path, None, problem))
}

/// As [`read_variable`], of bytes in memory; the error says what is wrong.
fn variable(bytes: &[u8], name: &str) -> Result<Value, String> {
    let (mut found, mut others) = (None, Vec::new());
    variables(bytes, MOST_BYTES, &mut |head, parts| {
        if head.name != name {
            others.push(head.name.clone());
            return Ok(true);
        }
        let value = contents(head, parts, 0).map_err(|problem| format!("variable {name}: {problem}"))?;
        found = Some(value);
        Ok(false)
    })?;
    found.ok_or_else(|| {
        let others = if others.is_empty() { "none".into() } else { others.join(", ") };
        format!("has no variable {name}; its variables: {others}")
    })
}

/// The array that comes next within an array.
fn array(parts: &mut Elements<'_>, depth: usize) -> Result<Value, String> {
    let within = parts.array()?;
    if depth > DEEPEST {
        return Err(format!("has cells in cells more than {DEEPEST} deep"));
    }
    let Some(mut parts) = within else {
        return Ok(Value::Numbers { shape: vec![0, 0], values: Vec::new() });
    };
    let head = Head::read(&mut parts)?;
    contents(&head, parts, depth)
}

/// What follows an array's head.
fn contents(head: &Head, mut parts: Elements<'_>, depth: usize) -> Result<Value, String> {
    let within = parts.arrays_at_most();
    Ok(match head.class {
        1 => {
            let count = head.count(within)?;
            Value::Cells((0..count).map(|_| array(&mut parts, depth + 1)).collect::<Result<_, _>>()?)
        }
        2 => {
            let names = parts.field_names()?;
            if names.is_empty() || head.count(within)? == 0 {
                return Ok(Value::Structure(Vec::new()));
            }
            let fields = names.into_iter().map(|name| Ok((name, array(&mut parts, depth + 1)?)));
            Value::Structure(fields.collect::<Result<_, String>>()?)
        }
        4 if head.shape.first().is_none_or(|rows| *rows <= 1) => {
            let (kind, data) = parts.next_element()?;
            Value::Text(parts.text(kind, data)?)
        }
        6..=15 if !head.complex => {
            let (kind, data) = parts.next_element()?;
            let values = parts.numbers(kind, data)?;
            if head.count(values.len())? != values.len() {
                return Err(format!("{} numbers are not of shape {:?}", values.len(), head.shape));
            }
            Value::Numbers { shape: head.shape.clone(), values }
        }
        3 => Value::Other("an object"),
        4 => Value::Other("several lines of text"),
        5 => Value::Other("a sparse matrix"),
        6..=15 => Value::Other("complex numbers"),
        _ => Value::Other("of a class unknown here"),
    })
}

#[cfg(test)]
#[path = "matlab_tests.rs"]
mod tests;
