//! Tables read for the kind of positions that is needed.

use super::*;
use crate::LatLon;

fn list_as(text: &str, zone: Option<UtmZone>, positions: Option<PositionKind>) -> Result<Listing> {
    let table = Table::parse(text.as_bytes(), Path::new("t.csv")).unwrap();
    let options =
        Options { zone, positions, needs_position: positions != Some(PositionKind::None), radius: false };
    list_table(table, Path::new("root"), options, &mut |path| Ok(path.to_owned()))
}

#[test]
fn local_metres_by_the_kind_that_is_needed() {
    let local = |x, y, z| Some(crate::LocalPoint { x, y, z }.into());
    let of = |text: &str, kind| {
        let listing = list_as(text, None, kind).expect(text);
        listing.photos.iter().map(|photo| photo.position).collect::<Vec<_>>()
    };
    let wanted = Some(PositionKind::Local);
    for kind in [wanted, None] {
        assert_eq!(
            of("path,x,y\na.jpg,0,0\nb.jpg,-1.5,2\n", kind),
            [local(0.0, 0.0, None), local(-1.5, 2.0, None)]
        );
        assert_eq!(
            of("path,x [m],y [m],z [m]\na,1,2,3\nb,1,2,\n", kind),
            [local(1.0, 2.0, Some(3.0)), local(1.0, 2.0, None),]
        );
    }
    // A table with both has the kind that is needed, and degrees where none is.
    let both = "path,lat,lon,x,y\na,52.5,0.25,1,2\n";
    let globe = Some(LatLon { lat: 52.5, lon: 0.25 }.into());
    assert_eq!(of(both, wanted), [local(1.0, 2.0, None)]);
    assert_eq!((of(both, Some(PositionKind::Wgs84)), of(both, None)), (vec![globe], vec![globe]));
    assert_eq!(of("path,east,north,up\na,1,2,3\n", wanted), [local(1.0, 2.0, Some(3.0))]);
    // A zone of a warehouse is a tag.
    let listing = list_as("path,x,y,zone\na,1,2,3\n", None, wanted).unwrap();
    assert_eq!(
        (listing.photos[0].position, listing.photos[0].tags["zone"].as_str()),
        (local(1.0, 2.0, None), "3")
    );
    let refused = [
        (
            "path,lat,lon\na,52,0\n",
            wanted,
            "positions in WGS84 (columns lat, lon); this index has positions in local",
        ),
        ("path,easting,northing\na,5e5,5e6\n", wanted, "positions in UTM metres (columns easting, northing)"),
        ("path,x,y,zone\na,500000,5000000,33U\n", wanted, "positions in UTM metres (columns x, y)"),
        (
            "path,x,y\na,1,2\n",
            Some(PositionKind::Wgs84),
            "positions in local metres (columns x, y); this index has WGS84",
        ),
    ];
    for (text, kind, said) in refused {
        let message = list_as(text, None, kind).expect_err(text).to_string();
        assert!(message.starts_with("t.csv:1: ") && message.contains(said), "{message}");
    }
    let zone = "33U".parse().ok();
    let utm = list_as("path,x,y\na,500000,5400000\n", zone, Some(PositionKind::Wgs84)).unwrap();
    assert!(utm.photos[0].lat_lon().is_some());
}

#[test]
fn no_positions_are_needed_where_none_are_kept() {
    for text in [
        "path,label\na,kitchen\n",
        "path,lat,lon,label\na,nonsense,,kitchen\n",
        "path,x,y,label\na,1,2,kitchen\n",
    ] {
        let listing = list_as(text, None, Some(PositionKind::None)).expect(text);
        let photo = &listing.photos[0];
        assert_eq!((photo.position, photo.tags["label"].as_str()), (None, "kitchen"), "{text}");
        let kept = !listing.notes.iter().any(|note| note.contains("are not kept"));
        assert_eq!(kept, text.starts_with("path,label"), "{text}");
    }
}
