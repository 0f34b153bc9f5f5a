use super::*;

fn header() -> Header {
    Header(format!("{MAGIC}; a test\n"))
}

fn filled(dir: &Path) -> PathBuf {
    let mut file = FeatureFile::open(dir, &header(), 4, 2).unwrap();
    file.append(2, &[0.5, -1.0], &[1, 2, 3]).unwrap();
    file.append(0, &[1.0, 0.0], &[]).unwrap();
    file.flush().unwrap();
    assert_eq!(file.local(2).unwrap(), [1, 2, 3]);
    file.path.clone()
}

fn seen(dir: &Path) -> (Vec<bool>, Vec<f32>) {
    let file = FeatureFile::open(dir, &header(), 4, 2).unwrap();
    let mut global = vec![0.0; 8];
    file.read_globals(&mut global).unwrap();
    ((0..4).map(|i| file.has(i)).collect(), global)
}

#[test]
fn written_records_are_read_again() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let (has, global) = seen(dir.path());
    assert_eq!(has, [true, false, true, false]);
    assert_eq!(global, [1.0, 0.0, 0.0, 0.0, 0.5, -1.0, 0.0, 0.0]);
}

#[test]
fn a_file_cut_anywhere_keeps_its_complete_records() {
    let dir = tempfile::tempdir().unwrap();
    let path = filled(dir.path());
    let whole = std::fs::read(&path).unwrap();
    let start = header().0.len();
    let first = HEAD + 8 + 3 + CHECK;
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let (has, _) = seen(dir.path());
        assert_eq!(has, [false, false, length >= start + first, false], "cut to {length} bytes");
        // And it can be appended to.
        let mut file = FeatureFile::open(dir.path(), &header(), 4, 2).unwrap();
        file.append(1, &[0.0, 1.0], &[9]).unwrap();
        file.flush().unwrap();
        drop(file);
        assert!(seen(dir.path()).0[1]);
    }
}

#[test]
fn a_flipped_bit_ends_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = filled(dir.path());
    let mut bytes = std::fs::read(&path).unwrap();
    let at = header().0.len() + HEAD + 1;
    bytes[at] ^= 4;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(seen(dir.path()).0, [false; 4]);
}

#[test]
fn another_file_of_that_name_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = filled(dir.path());
    std::fs::write(&path, vec![b'x'; 500]).unwrap();
    let error = FeatureFile::open(dir.path(), &header(), 4, 2).err().unwrap().to_string();
    assert!(error.contains("features-") && error.contains("remove it"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap().len(), 500);
}

#[test]
fn two_runs_do_not_share_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let _open = FeatureFile::open(dir.path(), &header(), 4, 2).unwrap();
    let error = FeatureFile::open(dir.path(), &header(), 4, 2).err().unwrap().to_string();
    assert!(error.contains("another run"), "{error}");
}
