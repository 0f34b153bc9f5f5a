//! Properties of an XMP packet.
//!
//! Cameras and drones write packets that are not well-formed XML, so the packet is searched for properties rather than
//! parsed: as attributes (`exif:GPSLatitude="..."`) and as elements (`<exif:GPSLatitude>...</exif:GPSLatitude>`). What
//! is not found, or makes no sense, is as if it were not there.

use super::photo_tags::HeadingReference;
use crate::LatLon;

/// An XMP packet.
#[derive(Clone, Copy)]
pub(super) struct Xmp<'a>(pub(super) &'a str);

impl<'a> Xmp<'a> {
    /// The value of the first property of this name (`exif:GPSLatitude`) that has one.
    pub(super) fn get(self, name: &str) -> Option<&'a str> {
        self.0.match_indices(name).find_map(|(at, _)| {
            let before = self.0[..at].chars().next_back()?;
            let rest = self.0[at + name.len()..].trim_start();
            let value = if let Some(rest) = rest.strip_prefix('=').filter(|_| before.is_whitespace()) {
                let rest = rest.trim_start();
                let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
                rest[1..].split_once(quote)?.0
            } else if let Some(rest) = rest.strip_prefix('>').filter(|_| before == '<') {
                rest.split_once('<')?.0
            } else {
                return None;
            };
            Some(value.trim()).filter(|value| !value.is_empty() && !value.contains(['<', '>']))
        })
    }

    /// A property that is a number, or a fraction such as `1250/10`.
    pub(super) fn number(self, name: &str) -> Option<f64> {
        let text = self.get(name)?;
        let value = match text.split_once('/') {
            Some((above, below)) => above.trim().parse::<f64>().ok()? / below.trim().parse::<f64>().ok()?,
            None => text.parse().ok()?,
        };
        Some(value).filter(|value| value.is_finite())
    }

    /// The position of `exif:GPSLatitude` and `exif:GPSLongitude`, or of a DJI drone's own properties.
    ///
    /// # Errors
    /// Says what makes no sense, or which hemisphere is not stated.
    pub(super) fn position(self) -> Result<Option<LatLon>, String> {
        let axis = |names: &[&'static str], letters: [char; 2]| -> Result<Option<(&str, Degrees)>, String> {
            let Some((name, text)) = names.iter().find_map(|name| Some((*name, self.get(name)?))) else {
                return Ok(None);
            };
            let reference = self.get(&format!("{name}Ref"));
            match degrees(text, reference, letters) {
                // DJI's own properties are signed numbers, with or without a plus.
                Some(read) => {
                    Ok(Some((name, Degrees { sided: read.sided || !name.starts_with("exif:"), ..read })))
                }
                None => Err(format!("its XMP {name} \"{text}\" is no angle")),
            }
        };
        let lat = axis(&["exif:GPSLatitude", "drone-dji:GpsLatitude"], ['N', 'S'])?;
        let lon =
            axis(&["exif:GPSLongitude", "drone-dji:GpsLongitude", "drone-dji:GpsLongtitude"], ['E', 'W'])?;
        let (Some((lat_name, lat)), Some((lon_name, lon))) = (lat, lon) else { return Ok(None) };
        // Written by cameras and editors that know no position.
        if lat.value == 0.0 && lon.value == 0.0 {
            return Ok(None);
        }
        // A writer that signs one of the two signs both: the other one has no minus.
        let signed = lat.signed || lon.signed;
        for (name, angle, sides) in [(lat_name, lat, "N or S"), (lon_name, lon, "E or W")] {
            if !angle.sided && !signed && angle.value != 0.0 {
                return Err(format!(
                    "its XMP {name} \"{}\" states no hemisphere: {name}Ref ({sides}) or a sign is needed",
                    self.get(name).unwrap_or_default()
                ));
            }
        }
        LatLon::new(lat.value, lon.value)
            .map(Some)
            .map_err(|e| format!("its XMP position is impossible: {e}"))
    }

    /// The compass heading of a panorama's middle, in degrees.
    pub(super) fn pose_heading(self) -> Option<f64> {
        let heading = self.number("GPano:PoseHeadingDegrees").filter(|h| (-360.0..=360.0).contains(h))?;
        Some(heading.rem_euclid(360.0) % 360.0)
    }

    /// The heading of `exif:GPSImgDirection`, with its north.
    pub(super) fn heading(self) -> Option<(f64, Option<HeadingReference>)> {
        let degrees = self.number("exif:GPSImgDirection").filter(|d| (0.0..=360.0).contains(d))?;
        let north = self.get("exif:GPSImgDirectionRef").and_then(HeadingReference::of);
        Some((degrees % 360.0, north))
    }

    /// The yaw of a DJI drone's gimbal, -180 to 180 degrees, as a heading.
    pub(super) fn gimbal_heading(self) -> Option<f64> {
        let yaw = self.number("drone-dji:GimbalYawDegree").filter(|yaw| yaw.abs() <= 360.0)?;
        Some(yaw.rem_euclid(360.0) % 360.0)
    }

    /// Metres above sea level of `exif:GPSAltitude`, negative below.
    pub(super) fn altitude(self) -> Option<f64> {
        let metres = self.number("exif:GPSAltitude")?;
        let below = matches!(self.get("exif:GPSAltitudeRef"), Some("1" | "3"));
        Some(if below && metres > 0.0 { -metres } else { metres })
    }
}

/// An angle, and how its half of the world is stated.
#[derive(Debug, Clone, Copy)]
struct Degrees {
    value: f64,
    /// By a letter or a sign.
    sided: bool,
    /// By a sign alone.
    signed: bool,
}

/// An angle as XMP writers put it: `52,12.324N` and `52,12,19.4N` (the standard), `52.2054N`, or decimal degrees with
/// a sign or a reference of their own. Anything else would have to be guessed.
fn degrees(text: &str, reference: Option<&str>, [plus, minus]: [char; 2]) -> Option<Degrees> {
    let text = text.trim();
    let letter = |text: &str| text.chars().next().map(|c| c.to_ascii_uppercase());
    let (number, side) = match text.strip_suffix(|c: char| c.is_ascii_alphabetic()) {
        Some(number) => (number.trim_end(), text.chars().next_back().map(|c| c.to_ascii_uppercase())),
        None => (text, reference.map(str::trim).and_then(letter)),
    };
    let parts: Vec<f64> = number.split(',').map(|p| p.trim().parse::<f64>().ok()).collect::<Option<_>>()?;
    let negative = number.trim_start().starts_with('-');
    let signed = side.is_none() && number.trim_start().starts_with(['-', '+']);
    // 60 is what 59.9999 becomes when it is rounded.
    if parts.iter().any(|p| !p.is_finite()) || parts.iter().skip(1).any(|p| !(0.0..=60.0).contains(p)) {
        return None;
    }
    let size = match parts[..] {
        [degrees] => degrees.abs(),
        // A whole degree, and minutes; seconds behind whole minutes.
        [degrees, minutes] if degrees.fract() == 0.0 => degrees.abs() + minutes / 60.0,
        [degrees, minutes, seconds] if degrees.fract() == 0.0 && minutes.fract() == 0.0 => {
            degrees.abs() + minutes / 60.0 + seconds / 3600.0
        }
        _ => return None,
    };
    let value = match side {
        // A sign and a letter say the same twice.
        Some(side) if side == plus && !negative => size,
        Some(side) if side == minus => -size,
        Some(_) => return None,
        // Parts without a side are half a value.
        None if parts.len() > 1 => return None,
        None if negative => -size,
        None => size,
    };
    Some(Degrees { value, sided: side.is_some() || signed, signed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(inside: &str) -> String {
        format!(
            "<?xpacket begin='' id='W5M0MpCehiHzreSzNTczkc9d'?><x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF>{inside}\
             </rdf:RDF></x:xmpmeta>"
        )
    }

    /// The forms that writers use, and those that would have to be guessed.
    #[test]
    fn angles_of_every_writer() {
        for (text, reference, wanted) in [
            ("52,12.324N", None, Some(52.2054)),
            ("52,12,19.44N", None, Some(52.2054)),
            ("79,4.62W", None, Some(-79.077)),
            ("79,4.62w", None, Some(-79.077)),
            ("52.2054", None, Some(52.2054)),
            ("-33.5", None, Some(-33.5)),
            ("+33.5", None, Some(33.5)),
            ("33.5", Some("South"), Some(-33.5)),
            ("-33.5", Some("S"), Some(-33.5)),
            ("33.5S", None, Some(-33.5)),
            ("52,12.324 N", None, Some(52.2054)),
            ("-33.5", Some("N"), None),
            ("50,53,691734,N", None, None),
            ("52,12.324", None, None),
            ("52,12.5,3N", None, None),
            ("52,60N", None, Some(53.0)),
            ("52,61N", None, None),
            ("52.5,12N", None, None),
            ("52,12.324Q", None, None),
            ("nan", None, None),
            ("", None, None),
            ("N", None, None),
        ] {
            let sides = if text.to_ascii_uppercase().ends_with('W') { ['E', 'W'] } else { ['N', 'S'] };
            let found = degrees(text, reference, sides);
            match wanted {
                Some(wanted) => {
                    assert!(found.is_some_and(|f| (f.value - wanted).abs() < 1e-9), "{text}: {found:?}")
                }
                None => assert!(found.is_none(), "{text}"),
            }
        }
    }

    #[test]
    fn attributes_and_elements() {
        let element =
            packet("<exif:GPSLatitude>52,12.324N</exif:GPSLatitude> <exif:GPSLongitude >0,7.134E</e>");
        let attribute =
            packet("<rdf:Description exif:GPSLatitude=\"52,12.324N\"\n exif:GPSLongitude = '0,7.134E'/>");
        for packet in [element, attribute] {
            let position = Xmp(&packet).position().unwrap().expect("a position");
            assert!((position.lat - 52.2054).abs() < 1e-9 && (position.lon - 0.1189).abs() < 1e-9);
        }
        let drone = packet(
            "<rdf:Description drone-dji:GimbalYawDegree=\"-12.50\" drone-dji:GpsLatitude=\"+22.5\" \
             drone-dji:GpsLongtitude=\"113.9\"/>",
        );
        assert_eq!(Xmp(&drone).gimbal_heading(), Some(347.5));
        assert_eq!(Xmp(&drone).position(), Ok(Some(LatLon { lat: 22.5, lon: 113.9 })));
        let other = packet(
            "<rdf:Description exif:GPSImgDirection=\"9000/100\" exif:GPSImgDirectionRef='M' \
             exif:GPSAltitude='125/10' exif:GPSAltitudeRef='1'/>",
        );
        assert_eq!(Xmp(&other).heading(), Some((90.0, Some(HeadingReference::Magnetic))));
        assert_eq!(Xmp(&other).altitude(), Some(-12.5));
    }

    /// Sydney without its signs would be in the Pacific north of the equator.
    #[test]
    fn a_hemisphere_is_stated_or_nothing_is_read() {
        let position = |inside: &str| Xmp(&packet(&format!("<r {inside}/>"))).position();
        for (lat, lon, wanted) in [
            (
                "exif:GPSLatitude='33.8'",
                "exif:GPSLongitude='151.2'",
                Err("exif:GPSLatitude \"33.8\" states no"),
            ),
            (
                "exif:GPSLatitude='33.8' exif:GPSLatitudeRef='S'",
                "exif:GPSLongitude='151.2'",
                Err("GPSLongitudeRef (E or W) or a sign"),
            ),
            (
                "exif:GPSLatitude='33.8' exif:GPSLatitudeRef='S'",
                "exif:GPSLongitude='151.2' exif:GPSLongitudeRef='E'",
                Ok((-33.8, 151.2)),
            ),
            ("exif:GPSLatitude='-33.8'", "exif:GPSLongitude='151.2'", Ok((-33.8, 151.2))),
            ("exif:GPSLatitude='33.8'", "exif:GPSLongitude='+151.2'", Ok((33.8, 151.2))),
            ("exif:GPSLatitude='0'", "exif:GPSLongitude='6.7E'", Ok((0.0, 6.7))),
            ("drone-dji:GpsLatitude='33.8'", "drone-dji:GpsLongitude='151.2'", Ok((33.8, 151.2))),
        ] {
            match (position(&format!("{lat} {lon}")), wanted) {
                (Ok(Some(at)), Ok((lat, lon))) => assert_eq!(at, LatLon { lat, lon }),
                (Err(said), Err(wanted)) => assert!(said.contains(wanted), "{said}"),
                other => panic!("{lat} {lon}: {other:?}"),
            }
        }
    }

    /// A packet that is no XML costs nothing.
    #[test]
    fn malformed_packets_are_searched_or_ignored() {
        for inside in [
            "<exif:GPSLatitude>52,12.324N",
            "exif:GPSLatitude=52,12",
            "<exif:GPSLatitude/><exif:GPSLongitude>",
            "<rdf:Description exif:GPSLatitude=\"52,12.3",
            "<<<exif:GPSLatitude",
            "exif:GPSLatitude",
            "",
        ] {
            assert_eq!(Xmp(&packet(inside)).position(), Ok(None), "{inside}");
            assert_eq!(Xmp(inside).position(), Ok(None), "{inside}");
        }
        let zero = packet("<r exif:GPSLatitude='0,0.0N' exif:GPSLongitude='0,0.0E'/>");
        assert_eq!(Xmp(&zero).position(), Ok(None));
        let bad = packet("<r exif:GPSLatitude='91,0.0N' exif:GPSLongitude='0,7E'/>");
        assert!(Xmp(&bad).position().unwrap_err().contains("impossible"));
    }
}
