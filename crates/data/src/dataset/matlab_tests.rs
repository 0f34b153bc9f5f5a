//! Files of scipy, and files that are damaged in every place.

use super::*;
use proptest::prelude::*;
use r2former_matlab::HEADER;

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity").join(name)).expect(name)
}

#[test]
fn numbers_and_texts() {
    let bytes = fixture("numbers.mat");
    let values = vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0];
    assert_eq!(variable(&bytes, "x").unwrap(), Value::Numbers { shape: vec![2, 3], values });
    assert_eq!(variable(&bytes, "s").unwrap(), Value::Text("ä text".into()));
    assert_eq!(variable(&bytes, "z").unwrap(), Value::Other("complex numbers"));
    assert_eq!(variable(&bytes, "y").unwrap_err(), "has no variable y; its variables: x, s, z");
}

#[test]
fn packed_and_plain_are_the_same() {
    let read = |name: &str| variable(&fixture(name), "dbStruct").unwrap();
    assert_eq!(read("pitts_plain.mat"), read("pitts_packed.mat"));
    let Value::Structure(fields) = read("pitts_plain.mat") else { panic!("a structure") };
    assert_eq!(fields[0], ("whichSet".into(), Value::Text("test".into())));
    let Value::Cells(names) = &fields[1].1 else { panic!("cells") };
    assert_eq!(names[1], Value::Text("000/b_pitch1_yaw1.jpg".into()));
}

#[test]
fn other_versions_are_told() {
    let mut bytes = fixture("pitts_plain.mat");
    bytes[HEADER - 3] = 2;
    assert!(variable(&bytes, "dbStruct").unwrap_err().contains("7.3 (HDF5): save it with -v7"));
    assert!(variable(b"\x89HDF\r\n", "x").unwrap_err().contains("no MATLAB file: it has 6 bytes"));
    assert!(variable(&[b'x'; 300], "x").unwrap_err().contains("no MATLAB file of version 5"));
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    for name in ["pitts_plain.mat", "pitts_packed.mat"] {
        let bytes = fixture(name);
        for length in 0..bytes.len() - 7 {
            assert!(variable(&bytes[..length], "dbStruct").is_err(), "{name} cut to {length}");
        }
    }
}

proptest! {
    #[test]
    fn any_damage_is_a_value_or_an_error(at in 0usize..1224, byte in any::<u8>(), more in any::<u8>()) {
        for name in ["pitts_plain.mat", "pitts_packed.mat", "numbers.mat"] {
            let mut bytes = fixture(name);
            let (length, both) = (bytes.len(), [byte, more]);
            for (i, byte) in both.into_iter().enumerate() {
                bytes[(at + 4 * i) % length] = byte;
            }
            let _ = variable(&bytes, "dbStruct");
        }
    }
}
