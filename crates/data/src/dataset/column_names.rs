//! The names that columns of tables of photographs have.

use super::point::Order;
use unicode_normalization::UnicodeNormalization;

/// What a column of a table of photographs can mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Path,
    Lat,
    Lon,
    LatRef,
    LonRef,
    Point(Order),
    Easting,
    Northing,
    LocalX,
    LocalY,
    LocalZ,
    Zone,
    Hemisphere,
    Heading,
    Altitude,
    AltitudeRef,
    Time,
    Offset,
    GpsDate,
    GpsTime,
}

/// Names of each meaning, the surest first: in lower case, without separators, units and groups. They are those of
/// people in some languages and of tools (`exiftool -csv`, mapillary_tools, GIS exports).
#[rustfmt::skip]
pub(super) const NAMES: [(Role, &[&str]); 23] = [
    (Role::Path, &[
        "path", "sourcefile", "file", "filename", "image", "img", "name", "filepath", "imagepath", "imgpath",
        "imagefile", "imagename", "imgname", "relativepath", "relpath", "photo", "picture", "datei",
        "dateiname", "dateipfad", "pfad", "bild", "bilddatei", "foto", "fichier", "nomfichier", "nomdufichier",
        "chemin", "archivo", "fichero", "url", "imageurl",
    ]),
    (Role::Lat, &[
        "lat", "latitude", "gpslatitude", "gpslat", "maplatitude", "latitud", "latitudine", "breitengrad",
        "geographischebreite", "breite",
    ]),
    (Role::Lon, &[
        "lon", "lng", "long", "longitude", "gpslongitude", "gpslon", "gpslng", "gpslong", "maplongitude",
        "longitud", "longitudine", "längengrad", "laengengrad", "geographischelänge", "länge", "laenge",
    ]),
    (Role::LatRef, &[
        "latref", "latituderef", "gpslatituderef", "lathemisphere", "latitudehemisphere", "latdir",
        "latitudedirection", "ns",
    ]),
    (Role::LonRef, &[
        "lonref", "lngref", "longref", "longituderef", "gpslongituderef", "lonhemisphere",
        "longitudehemisphere", "londir", "longitudedirection", "ew",
    ]),
    (Role::Point(Order::Unstated), &[
        "wkt", "geometry", "geom", "thegeom", "wktgeom", "point",
    ]),
    (Role::Point(Order::LatLon), &[
        "latlon", "latlng", "latlong", "latitudelongitude",
    ]),
    (Role::Point(Order::LonLat), &[
        "lonlat", "lnglat", "longlat", "longitudelatitude",
    ]),
    (Role::Point(Order::Unstated), &[
        "gpsposition", "position", "coordinates", "coordinate", "coords", "location", "gps", "koordinaten",
    ]),
    (Role::Easting, &[
        "easting", "utmeast", "utmeasting", "east", "x",
    ]),
    (Role::Northing, &[
        "northing", "utmnorth", "utmnorthing", "north", "y",
    ]),
    (Role::LocalX, &[
        "x", "localx", "xlocal", "posx", "positionx", "mapx", "east",
    ]),
    (Role::LocalY, &[
        "y", "localy", "ylocal", "posy", "positiony", "mapy", "north",
    ]),
    (Role::LocalZ, &[
        "z", "localz", "zlocal", "posz", "positionz", "mapz", "up",
    ]),
    (Role::Zone, &[
        "utmzone", "zone", "epsg", "crs", "srid",
    ]),
    (Role::Hemisphere, &[
        "hemisphere", "hemi", "utmhemisphere", "northsouth", "ns",
    ]),
    (Role::Heading, &[
        "heading", "compass", "bearing", "yaw", "northdeg", "ca", "direction", "gpsimgdirection",
        "imgdirection", "compassangle", "compassheading", "azimuth", "azimut", "blickrichtung", "richtung",
        "kompass",
    ]),
    (Role::Altitude, &[
        "altitude", "alt", "elevation", "height", "gpsaltitude", "mapaltitude", "ele", "elev", "höhe", "hoehe",
    ]),
    (Role::AltitudeRef, &[
        "gpsaltituderef", "altituderef", "altref",
    ]),
    (Role::Time, &[
        "timestamp", "time", "capturedat", "date", "datetime", "capturetime", "zeitstempel", "zeit", "datum",
        "gpsdatetime", "subsecdatetimeoriginal", "datetimeoriginal", "subseccreatedate", "createdate", "utctime",
        "utcdatetime", "utcdate", "localtime", "localdatetime", "localdate", "timeofday", "uhrzeit", "hora", "heure",
        "fecha", "capturedate", "datetaken", "timetaken", "datetimetaken", "takenat", "clock",
    ]),
    (Role::Offset, &[
        "offsettimeoriginal", "offsettime", "offsettimedigitized", "utcoffset", "gmtoffset", "tzoffset",
        "timezoneoffset", "tz", "timezone", "zeitzone",
    ]),
    (Role::GpsDate, &[
        "gpsdatestamp", "gpsdate",
    ]),
    (Role::GpsTime, &[
        "gpstimestamp", "gpstime",
    ]),
];

/// Whether a column is one of values that are numbers, times or angles, by its name: not of a path or a tag.
pub(super) fn is_of_values(name: &str) -> bool {
    let key = key(name);
    NAMES.iter().any(|(role, known)| *role != Role::Path && known.contains(&key.as_str()))
}

/// Whether a column is that of a radius around a position: `radius`, `radius_m`, `Radius [m]`.
pub(super) fn is_radius(name: &str) -> bool {
    key(name) == "radius"
}

/// A column's name as [`NAMES`] has it: composed, in lower case, without exiftool's group before it, a unit after it,
/// and separators in it.
pub(super) fn key(name: &str) -> String {
    const GROUPS: [&str; 7] = ["exif", "gps", "composite", "xmp", "file", "system", "ifd"];
    const UNITS: [&str; 9] = ["deg", "degrees", "degree", "wgs84", "m", "metres", "meters", "utc", "decimal"];
    let name: String = name.nfc().collect::<String>().to_lowercase();
    let name = match name.split_once(':') {
        Some((group, rest)) if GROUPS.iter().any(|g| group.starts_with(g)) => rest,
        _ => &name,
    };
    let name = name.split(['(', '[']).find(|part| !part.trim().is_empty()).unwrap_or_default();
    let mut words: Vec<&str> = name.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
    if words.len() > 1 && words.last().is_some_and(|last| UNITS.contains(last)) {
        words.pop();
    }
    words.concat()
}
