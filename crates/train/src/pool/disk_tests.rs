//! Sources on disk, written by the tests.

use super::*;
use crate::random::{Use, at};
use r2former_data::image::{PhotoTags, jpeg_with_tags};
use std::path::Path;

fn photo(path: &Path, shade: u8) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let image = Rgb8 { width: 24, height: 16, pixels: vec![shade; 24 * 16 * 3] };
    std::fs::write(path, jpeg_with_tags(&image, 90, &PhotoTags::default()).unwrap()).unwrap();
}

fn open(kind: SourceKind) -> Result<Pool> {
    let rules = PlaceRules { positive_m: 10.0, negative_m: 25.0, heading_deg: 180.0 };
    Pool::open(&[SourceConfig { kind, weight: 1.0 }], rules, 0)
}

#[test]
fn a_folder_is_a_place_and_excluded_ones_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    for (place, count) in [("bridge", 3), ("square", 2), ("tower", 4)] {
        for i in 0..count {
            photo(&dir.path().join(place).join(format!("{i}.jpg")), i as u8);
        }
    }
    std::fs::write(dir.path().join("bridge/notes.txt"), "no photograph").unwrap();
    let folders = |exclude: &[&str]| {
        let exclude = exclude.iter().map(|w| (*w).to_string()).collect();
        open(SourceKind::Folders { path: dir.path().into(), exclude, aligned: false })
    };
    let all = folders(&[]).unwrap();
    assert_eq!((all.len(), all.positives(0), all.positives(3)), (9, &[1, 2][..], &[4][..]));
    assert_eq!(all.relation(0, 4), Relation::Negative);
    let image = all.image(1, [16, 24], Some(&mut at(1, Use::Image, [0, 0]))).unwrap();
    assert_eq!((image.width, image.height), (24, 16));
    assert_eq!(folders(&["square"]).unwrap().len(), 7);
    let error = folders(&["sqare"]).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("sqare"), "{error}");
}

#[test]
fn gsv_cities_places_follow_their_tables() {
    let dir = tempfile::tempdir().unwrap();
    let header = "place_id,year,month,northdeg,city_id,lat,lon,panoid\n";
    let rows = [
        ("Oslo", "7,2015,6,90,Oslo,59.91,10.75,aB_1"),
        ("Oslo", "7,2018,11,85,Oslo,59.91,10.75,cD-2"),
        ("Rome", "7,2012,1,5,Rome,41.9,12.5,e3"),
        ("Rome", "7,2013,1,5,Rome,41.9,12.5,f4"),
    ];
    for city in ["Oslo", "Rome"] {
        let own: String = rows.iter().filter(|r| r.0 == city).map(|r| format!("{}\n", r.1)).collect();
        std::fs::create_dir_all(dir.path().join("Dataframes")).unwrap();
        std::fs::write(dir.path().join(format!("Dataframes/{city}.csv")), format!("{header}{own}")).unwrap();
    }
    for name in [
        "Oslo/Oslo_0000007_2015_06_090_59.91_10.75_aB_1",
        "Oslo/Oslo_0000007_2018_11_085_59.91_10.75_cD-2",
        "Rome/Rome_0000007_2012_01_005_41.9_12.5_e3",
        "Rome/Rome_0000007_2013_01_005_41.9_12.5_f4",
    ] {
        photo(&dir.path().join(format!("Images/{name}.jpg")), 9);
    }
    let pool = open(SourceKind::GsvCities { path: dir.path().into(), cities: Vec::new() }).unwrap();
    assert_eq!((pool.len(), pool.positives(0), pool.positives(2)), (4, &[1][..], &[3][..]));
    // The same number in another city is another place.
    assert_eq!(pool.relation(0, 2), Relation::Negative);
    (0..4).for_each(|i| assert!(pool.image(i, [16, 16], None).is_ok()));
    let one = open(SourceKind::GsvCities { path: dir.path().into(), cities: vec!["Rome".into()] }).unwrap();
    assert_eq!(one.len(), 2);
    let lost = open(SourceKind::GsvCities { path: dir.path().into(), cities: vec!["Roma".into()] });
    assert!(lost.map(|_| ()).unwrap_err().to_string().contains("Roma"));
}

#[test]
fn a_vg_tree_gives_both_sides_and_its_metres() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("images/train");
    for (side, east) in [("queries", 500_000.0), ("database", 500_004.0), ("database", 500_900.0)] {
        photo(&root.join(side).join(format!("@{east}@5783000@33@U@@@@@@@@@@@.jpg")), 3);
    }
    let pool = open(SourceKind::Vg { path: dir.path().into(), split: "train".into() }).unwrap();
    assert_eq!((pool.len(), pool.sides()), (3, Some((1, 3))));
    assert_eq!(pool.positives(0).len(), 1);
    let relations: Vec<Relation> = (1..3).map(|i| pool.relation(0, i)).collect();
    assert!(relations.contains(&Relation::Positive) && relations.contains(&Relation::Negative));
}

/// Five queries and six references; q3 has no row.
fn pairs(dir: &Path, rows: &str) -> SourceKind {
    for name in ["q/1", "q/2", "q/3", "q/4", "q/5", "db/a", "db/b", "db/c", "db/d", "db/e", "db/f"] {
        photo(&dir.join(format!("{name}.jpg")), name.as_bytes()[name.len() - 1]);
    }
    let positives = dir.join("positives.csv");
    std::fs::write(&positives, format!("query,reference\n{rows}")).unwrap();
    SourceKind::Pairs { database: dir.join("db"), queries: dir.join("q"), positives, part: [0.0, 1.0] }
}

const ROWS: &str = "1.jpg,a.jpg\n1.jpg,b.jpg\n2.jpg,b.jpg\n2.jpg,c.jpg\n4.jpg,c.jpg\n5.jpg,e.jpg\n";

#[test]
fn listed_pairs_are_positives_and_chains_of_them_unknown() {
    use Relation::{Negative, Positive, Unknown};
    let dir = tempfile::tempdir().unwrap();
    let pool = open(pairs(dir.path(), ROWS)).unwrap();
    // Queries 1 to 5 are items 0 to 4, references a to f items 5 to 10.
    assert_eq!((pool.len(), pool.sides()), (11, Some((5, 11))));
    assert_eq!(
        (pool.positives(0), pool.positives(6), pool.positives(2)),
        (&[5, 6][..], &[0, 1][..], &[][..])
    );
    let of = |a: usize| -> Vec<Relation> { (0..pool.len()).map(|b| pool.relation(a, b)).collect() };
    let [p, u, n] = [Positive, Unknown, Negative];
    // Query 1: query 2 shares b with it, and so c may overlap; query 4 is four pairs away.
    assert_eq!(of(0), [p, u, n, n, n, p, p, u, n, n, n]);
    // Reference b: a shares query 1, c query 2; query 4 is three pairs away.
    assert_eq!(of(6), [p, p, n, u, n, u, p, u, n, n, n]);
    // In no pair.
    assert_eq!(of(8), [n, n, n, n, n, n, n, n, p, n, n]);
    for (a, b) in (0..pool.len()).flat_map(|a| (0..a).map(move |b| (a, b))) {
        assert_eq!(pool.relation(a, b), pool.relation(b, a), "{a} {b}");
    }
    let image = pool.image(5, [16, 24], None).unwrap();
    assert_eq!((image.width, image.pixels[0].abs_diff(b'a') < 4), (24, true));
    assert_eq!(
        pool.notes()[0],
        "data source 1: 11 training images, 8 of them with another of the same place"
    );
    // In stage local a photograph is paired with itself, and any is drawn.
    assert_eq!(pool.partner(0), Partner::Itself);
}

#[test]
fn a_part_of_the_queries_leaves_the_others_out() {
    let dir = tempfile::tempdir().unwrap();
    let SourceKind::Pairs { database, queries, positives, .. } = pairs(dir.path(), ROWS) else { panic!() };
    let of = |part: [f64; 2]| {
        let (database, queries, positives) = (database.clone(), queries.clone(), positives.clone());
        open(SourceKind::Pairs { database, queries, positives, part })
    };
    // Queries 4 and 5; the references of the others are negatives.
    let second = of([0.6, 1.0]).unwrap();
    assert_eq!((second.len(), second.sides()), (8, Some((2, 8))));
    assert_eq!((second.positives(0), second.positives(1)), (&[4][..], &[6][..]));
    assert_eq!(second.relation(0, 3), Relation::Negative);
    let error = of([0.4, 0.6]).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("data.part = [0.4, 0.6]") && error.contains("positives.csv"), "{error}");
}

#[test]
fn pairs_that_cannot_be_used_name_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let error = |rows: &str| open(pairs(dir.path(), rows)).map(|_| ()).unwrap_err().to_string();
    let none = error("");
    assert!(none.contains("data.positives") && none.contains("positives.csv"), "{none}");
    let unknown = error("1.jpg,g.jpg\n");
    assert!(unknown.contains("positives.csv:2") && unknown.contains("g.jpg"), "{unknown}");
}

#[test]
fn a_missing_photograph_of_a_pair_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let kind = pairs(dir.path(), ROWS);
    std::fs::write(dir.path().join("db/a.jpg"), "no photograph").unwrap();
    let pool = open(kind).unwrap();
    let broken = LeftOut::of(pool.image(5, [16, 24], None).map(|_| ()).unwrap_err()).unwrap();
    assert!(broken.path.ends_with("a.jpg"));
}
