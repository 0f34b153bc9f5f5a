//! A road in the layouts of MSLS and datasets_vg, small enough to compute every metric by hand.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::fmt::Write;
use std::path::Path;

/// Key, sequence, frame number, metres along the road, in the subtask `all`, panorama.
type Image = (&'static str, &'static str, u32, u32, bool, bool);

/// The database: sequence S every 20 m, with an image that is not in the subtask and a panorama; sequence T with a
/// missing frame.
pub(crate) const DATABASE: [Image; 11] = [
    ("d0", "S", 0, 0, true, false),
    ("d1", "S", 1, 20, true, false),
    ("d2", "S", 2, 40, true, false),
    ("d3", "S", 3, 60, true, false),
    ("d4", "S", 4, 80, false, false),
    ("d5", "S", 5, 100, true, true),
    ("d6", "S", 6, 120, true, false),
    ("d7", "S", 7, 140, true, false),
    ("t0", "T", 0, 200, true, false),
    ("t1", "T", 1, 220, true, false),
    ("t2", "T", 3, 240, true, false),
];

/// The queries: four frames of one sequence, two of another, the last of which is nowhere near anything.
pub(crate) const QUERIES: [Image; 6] = [
    ("q0", "Q", 7, 10, true, false),
    ("q1", "Q", 8, 30, true, false),
    ("q2", "Q", 9, 50, true, false),
    ("q3", "Q", 10, 120, true, false),
    ("u0", "U", 0, 230, true, false),
    ("u1", "U", 1, 1000, true, false),
];

/// Writes the tables of a city; those with positions only if wanted, as the challenge's cities lack them.
pub(crate) fn msls(root: &Path, city: &str, positions: bool) {
    for (side, images) in [("database", &DATABASE[..]), ("query", &QUERIES[..])] {
        let part = if positions { "train_val" } else { "test" };
        let folder = root.join(part).join(city).join(side);
        std::fs::create_dir_all(folder.join("images")).expect("temporary folders can be written");
        let (mut raw, mut processed) = (
            ",key,lon,lat,ca,captured_at,pano\n".to_string(),
            ",key,easting,northing,night,view_direction\n".to_string(),
        );
        let (mut sequence, mut subtask) = (
            ",key,sequence_key,frame_number\n".to_string(),
            ",key,all,s2w,w2s,o2n,n2o,d2n,n2d\n".to_string(),
        );
        for (i, (key, of, frame, metres, all, pano)) in images.iter().enumerate() {
            let title = |b: &bool| if *b { "True" } else { "False" };
            let day = title(&(*metres < 100));
            writeln!(raw, "{i},{key},12.5,55.6,0,2018,{}", title(pano)).expect("text");
            writeln!(processed, "{i},{key},{},6165000,False,Forward", 342_000 + metres).expect("text");
            writeln!(sequence, "{i},{key},{of},{frame}").expect("text");
            writeln!(subtask, "{i},{key},{},False,False,False,False,{day},False", title(all)).expect("text");
        }
        let mut tables = vec![("seq_info.csv", sequence), ("subtask_index.csv", subtask)];
        if positions {
            tables.extend([("raw.csv", raw), ("postprocessed.csv", processed)]);
        }
        for (name, text) in tables {
            std::fs::write(folder.join(name), text).expect("temporary folders can be written");
        }
    }
}

/// References 0, 20 and 40 m along a road, queries at 10 and 100 m, as a datasets_vg tree. Files are empty.
pub(crate) fn vg(root: &Path) {
    for (side, all) in [("database", &[0, 20, 40][..]), ("queries", &[10, 100][..])] {
        let folder = root.join("images/test").join(side);
        std::fs::create_dir_all(&folder).expect("temporary folders can be written");
        for metres in all {
            std::fs::write(folder.join(vg_name(*metres)), b"").expect("temporary folders can be written");
        }
    }
}

/// Name of the image at that many metres along the road.
pub(crate) fn vg_name(metres: u32) -> String {
    format!("@{}.00@5800000.00@30@U@@@{metres}@@@@@@@@.jpg", 600_000 + metres)
}
