//! Numbers of MATLAB's files: every numeric array in them, however deep in structures and cells, by a name such as
//! `net.layers{31}.weights{1}`.

use crate::weights::{RawTensor, Tensors};
use r2former_matlab::{Elements, Head, variables};

type Result<T> = std::result::Result<T, String>;

/// Structures and cells inside each other, at most.
const DEPTH: usize = 32;
/// Bytes of one compressed variable once inflated, at most.
const INFLATED: u64 = 4 << 30;

/// Classes of arrays.
const CELL: u32 = 1;
const STRUCT: u32 = 2;
const OBJECT: u32 = 3;

/// The numeric arrays of a file. Their shapes are MATLAB's and their values in its order: the first axis is the fastest.
pub(super) fn read(bytes: &[u8]) -> Result<Tensors> {
    let mut found = Tensors::new();
    variables(bytes, INFLATED, &mut |head, parts| {
        contents(head, parts, &head.name, 0, &mut found)?;
        Ok(true)
    })?;
    Ok(found)
}

/// Adds the numbers of the array that comes next within another, or those of what it holds.
fn array(parts: &mut Elements<'_>, name: &str, depth: usize, found: &mut Tensors) -> Result<()> {
    let Some(mut parts) = parts.array()? else { return Ok(()) };
    if depth > DEPTH {
        return Err(format!("has more than {DEPTH} structures inside each other"));
    }
    let head = Head::read(&mut parts)?;
    contents(&head, parts, name, depth, found)
}

/// The same of what follows an array's head.
fn contents(
    head: &Head,
    mut parts: Elements<'_>,
    name: &str,
    depth: usize,
    found: &mut Tensors,
) -> Result<()> {
    match head.class {
        CELL => {
            for i in 1..=head.count(parts.arrays_at_most())? {
                array(&mut parts, &format!("{name}{{{i}}}"), depth + 1, found)?;
            }
        }
        STRUCT | OBJECT => {
            if head.class == OBJECT {
                parts.next_element()?;
            }
            let fields = parts.field_names()?;
            if fields.is_empty() {
                return Err("has a structure without names".into());
            }
            let count = head.count(parts.arrays_at_most())?;
            for i in 1..=count {
                // A structure is an array of one.
                let one = if count == 1 { name.to_string() } else { format!("{name}({i})") };
                for field in &fields {
                    array(&mut parts, &format!("{one}.{field}"), depth + 1, found)?;
                }
            }
        }
        // Double, single and integers of eight sizes; texts, sparse arrays and functions are passed over.
        6..=15 => {
            let (kind, data) = parts.next_element()?;
            let values = parts.floats(kind, data).map_err(|problem| format!("{name}: {problem}"))?;
            let count = head.count(values.len())?;
            if values.len() != count {
                let shape = &head.shape;
                return Err(format!("{name} has {} values, not {count} (shape {shape:?})", values.len()));
            }
            let tensor = RawTensor { shape: head.shape.clone(), data: values };
            if found.insert(name.to_string(), tensor).is_some() {
                return Err(format!("{name} is in it twice"));
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use r2former_matlab::{HEADER, is_matlab};

    /// Written by scipy, compressed and not.
    const FILES: [&[u8]; 2] = [
        include_bytes!("../../tests/parity/nested.mat"),
        include_bytes!("../../tests/parity/nested_compressed.mat"),
    ];

    #[test]
    fn arrays_in_structures_and_cells() {
        for file in FILES {
            assert!(is_matlab(file));
            let found = read(file).unwrap();
            let names: Vec<&str> = found.keys().map(String::as_str).collect();
            assert_eq!(
                names,
                [
                    "alone",
                    "net.layers{1}.weights{1}",
                    "net.layers{1}.weights{2}",
                    "net.many(1).a",
                    "net.many(2).a",
                    "net.meta.mean"
                ]
            );
            // Column-major.
            assert_eq!(found["alone"].shape, [2, 3]);
            assert_eq!(found["alone"].data, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
            assert_eq!(found["net.layers{1}.weights{1}"].shape, [1, 2, 2]);
            assert_eq!(found["net.layers{1}.weights{1}"].data, [0.5, 2.5, 1.5, 3.5]);
            assert_eq!(found["net.layers{1}.weights{2}"].data, [-7.0]);
            assert_eq!(found["net.many(2).a"].data, [2.0]);
        }
    }

    #[test]
    fn damage_is_an_error_or_harmless() {
        for file in FILES {
            for length in HEADER + 1..file.len() {
                let _ = read(&file[..length]);
            }
            assert!(read(&file[..file.len() / 2]).is_err());
        }
        let mut newer = FILES[0].to_vec();
        newer[..10].copy_from_slice(b"MATLAB 7.3");
        assert!(read(&newer).unwrap_err().contains("7.3"));
    }

    proptest! {
        #[test]
        fn changed_bytes_do_not_panic(which in 0usize..2, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
            let mut file = FILES[which].to_vec();
            for (at, value) in changes {
                let at = HEADER + at.index(file.len() - HEADER);
                file[at] = value;
            }
            let _ = read(&file);
        }
    }
}
