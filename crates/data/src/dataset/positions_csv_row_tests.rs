//! Rows that lead to one file, and what is said where options or rows are of no use.

use super::*;

fn listed_with(text: &str, zone: Option<UtmZone>) -> Result<Listing> {
    let options = Options { zone, positions: None, needs_position: true, radius: false };
    let table = Table::parse(text.as_bytes(), Path::new("t.csv"))?;
    list_table(table, Path::new(""), options, &mut |path| Ok(path.to_owned()))
}

fn listed(text: &str) -> Result<Listing> {
    listed_with(text, None)
}

#[test]
fn one_file_by_several_paths_is_one_photograph() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().canonicalize().unwrap();
    std::fs::create_dir(home.join("sub")).unwrap();
    for name in ["a.jpg", "b.jpg"] {
        std::fs::write(home.join(name), b"x").unwrap();
    }
    let csv = home.join("sub/t.csv");
    let a = home.join("a.jpg");
    let text = format!(
        "path,lat,lon\n../a.jpg,1,2\n{a},1,2\n../sub/../a.jpg,1,2\n../b.jpg,1,2\n{b},1,3\n",
        a = a.display(),
        b = home.join("b.jpg").display()
    );
    std::fs::write(&csv, text).unwrap();
    let listing = list_positions_csv(&csv, None, None).unwrap();
    let names: Vec<_> = listing.photos.iter().map(|photo| photo.name.as_str()).collect();
    assert_eq!(names, ["../a.jpg"]);
    let notes = listing.notes.join("\n");
    assert!(
        notes.contains("2 rows that repeat another") && notes.contains("is the same file as line 2"),
        "{notes}"
    );
    let reasons: Vec<_> = listing.skipped.iter().map(|s| s.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "t.csv:6: is the same file as line 5, with another position",
            "t.csv:5: is on a later line with another position"
        ]
    );
}

#[test]
fn a_zone_that_says_nothing_is_noted() {
    let zone = Some(UtmZone { number: 31, band: 'U' });
    let of = |text: &str| listed_with(text, zone).unwrap().notes.join("\n");
    let degrees = of("path,lat,lon\na.jpg,52,1\n");
    assert!(degrees.contains("the UTM zone 31U is not used: positions are read in degrees"), "{degrees}");
    let own = of("path,easting,northing,zone\na.jpg,362000,5762000,31U\n");
    assert!(own.contains("the column zone states each row's"), "{own}");
    let used = of("path,easting,northing\na.jpg,362000,5762000\n");
    assert!(!used.contains("not used"), "{used}");
}

#[test]
fn a_table_without_a_usable_row_says_what_rows_need() {
    let none = listed("path,lat,lon\na.jpg,,\n").unwrap();
    assert!(
        none.notes.iter().any(|note| note.contains("no row can be used") && note.contains("path,lat,lon"))
    );
    let message = listed("path,lat,lon\n").expect_err("no rows").to_string();
    assert!(message.contains("no rows: each photograph needs one, with path,lat,lon"), "{message}");
}
