//! A writer of SVG elements.

use crate::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use r2former_data::image::{Limits, PhotoTags, Rgb8, decode_file, jpeg_with_tags};
use r2former_engine::Extractor;
use r2former_model::Placement;
use std::fmt::Write;
use std::path::Path;

/// The reader's system font.
const FONT: &str = "font-family='system-ui,sans-serif'";
/// JPEG quality of photographs within pictures.
const QUALITY: u8 = 82;

/// A photograph, encoded for a picture.
#[derive(Debug, Clone)]
pub struct Photograph {
    pub(super) width: f64,
    pub(super) height: f64,
    /// Height and width of the file.
    own: [usize; 2],
    /// What the network sees of it; `None` for all.
    seen: Option<Placement>,
    jpeg: String,
}

impl Photograph {
    /// Reads a photograph and downscales its longer side to at most `longest` pixels.
    ///
    /// # Errors
    /// [`EvalError::Engine`](crate::EvalError::Engine): the file is missing or not a usable image.
    pub fn open(path: &Path, longest: usize) -> Result<Self> {
        Self::new(decode_file(path, &Limits::default())?, longest)
    }

    /// Downscales the longer side of a photograph to at most `longest` pixels.
    ///
    /// # Errors
    /// [`EvalError::Engine`](crate::EvalError::Engine): the image contradicts itself.
    pub fn new(image: Rgb8, longest: usize) -> Result<Self> {
        let own = [image.height, image.width];
        let image = image.thumbnail(longest)?;
        let jpeg = STANDARD.encode(jpeg_with_tags(&image, QUALITY, &PhotoTags::default())?);
        Ok(Self { width: image.width as f64, height: image.height as f64, own, seen: None, jpeg })
    }

    /// The same, with local features where this extractor sees them: under a rule each photograph has its own size.
    #[must_use]
    pub fn seen_by(self, extractor: &Extractor) -> Self {
        Self { seen: Some(extractor.place(self.own)), ..self }
    }

    /// What the network sees; all of it at `size` (height, width) unless the extractor is known.
    pub(super) fn placement(&self, size: [usize; 2]) -> Placement {
        self.seen.unwrap_or(Placement::whole(size))
    }

    /// Pixel of a local feature. Its position is relative to the longer side of the network's input, whose `size` is
    /// height x width.
    pub(super) fn point(&self, position: [f32; 2], size: [usize; 2]) -> [f64; 2] {
        let [x, y] = self.placement(size).share(position);
        [x * self.width, y * self.height]
    }
}

pub(super) struct Svg {
    width: f64,
    height: f64,
    body: String,
}

impl Svg {
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.body.write_fmt(element);
        self.body.push('\n');
    }

    pub(super) fn photograph(&mut self, photo: &Photograph, [x, y]: [f64; 2], width: f64) {
        let height = width * photo.height / photo.width;
        let jpeg = &photo.jpeg;
        self.push(format_args!(
            "<image x='{x:.1}' y='{y:.1}' width='{width:.1}' height='{height:.1}' preserveAspectRatio='none' href='data:image/jpeg;base64,{jpeg}'/>"
        ));
    }

    pub(super) fn rect(&mut self, [x, y]: [f64; 2], [width, height]: [f64; 2], style: &str) {
        self.push(format_args!(
            "<rect x='{x:.1}' y='{y:.1}' width='{width:.1}' height='{height:.1}' {style}/>"
        ));
    }

    pub(super) fn line(&mut self, [x, y]: [f64; 2], [u, v]: [f64; 2], style: &str) {
        self.push(format_args!("<line x1='{x:.1}' y1='{y:.1}' x2='{u:.1}' y2='{v:.1}' {style}/>"));
    }

    pub(super) fn polyline(&mut self, points: &[[f64; 2]], style: &str) {
        let points: String = points.iter().map(|[x, y]| format!("{x:.1},{y:.1} ")).collect();
        self.push(format_args!("<polyline points='{}' fill='none' {style}/>", points.trim_end()));
    }

    pub(super) fn circle(&mut self, [x, y]: [f64; 2], radius: f64, style: &str) {
        self.push(format_args!("<circle cx='{x:.1}' cy='{y:.1}' r='{radius:.1}' {style}/>"));
    }

    /// `style` may hold `text-anchor` and `fill`.
    pub(super) fn text(&mut self, [x, y]: [f64; 2], size: f64, text: &str, style: &str) {
        let text = escape(text);
        self.push(format_args!(
            "<text x='{x:.1}' y='{y:.1}' font-size='{size}' {FONT} {style}>{text}</text>"
        ));
    }

    /// Draws `inside` with a tooltip.
    pub(super) fn titled(&mut self, title: &str, inside: impl FnOnce(&mut Self)) {
        self.push(format_args!("<g><title>{}</title>", escape(title)));
        inside(self);
        self.push(format_args!("</g>"));
    }

    pub(super) fn finish(self) -> String {
        let Self { width, height, body } = self;
        format!(
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:.0} {height:.0}' width='{width:.0}' \
             height='{height:.0}' role='img'>\n<rect width='{width:.0}' height='{height:.0}' fill='#ffffff'/>\n{body}</svg>\n"
        )
    }
}

/// Escapes text for elements and attributes of XML and HTML.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // XML forbids control characters.
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A name that fits into `width` pixels at a font size: a long one is cut at its start, because the ends of paths differ.
pub(crate) fn fit(name: &str, size: f64, width: f64) -> String {
    if text_width(name, size) <= width {
        return name.to_string();
    }
    let mut room = width - text_width("…", size);
    let kept = name.chars().rev().take_while(|c| {
        room -= char_width(*c) * size;
        room >= 0.0
    });
    let kept: Vec<char> = kept.collect();
    std::iter::once('…').chain(kept.into_iter().rev()).collect()
}

/// Estimated width of a text in pixels, on the wide side of usual sans-serif fonts.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    text.chars().map(char_width).sum::<f64>() * size
}

/// In ems.
fn char_width(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '|' | '!' | '\'' => 0.35,
        'f' | 'r' | 't' | ' ' | '/' | '(' | ')' | '[' | ']' | '-' => 0.45,
        'm' | 'w' | 'M' | 'W' | '@' | '%' | '…' => 1.0,
        'A'..='Z' => 0.75,
        '\0'..='\u{10ff}' => 0.65,
        // Ideographs and other full-width characters.
        _ => 1.1,
    }
}

/// The viridis colour map: violet (0) through green to yellow (1).
pub(super) fn colour(share: f64) -> String {
    const STOPS: [[f64; 3]; 5] = [
        [68.0, 1.0, 84.0],
        [59.0, 82.0, 139.0],
        [33.0, 145.0, 140.0],
        [94.0, 201.0, 98.0],
        [253.0, 231.0, 37.0],
    ];
    let at = share.clamp(0.0, 1.0) * (STOPS.len() - 1) as f64;
    let low = (at.floor() as usize).min(STOPS.len() - 2);
    let mix =
        |c: usize| (STOPS[low][c] + (at - low as f64) * (STOPS[low + 1][c] - STOPS[low][c])).round() as u8;
    format!("#{:02x}{:02x}{:02x}", mix(0), mix(1), mix(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        assert_eq!(escape("<script>'&\"\u{7}"), "&lt;script&gt;&#39;&amp;&quot;\u{fffd}");
    }

    #[test]
    fn positions_map_to_pixels_for_any_aspect_ratio() {
        let photo =
            Photograph { width: 300.0, height: 200.0, own: [200, 300], seen: None, jpeg: String::new() };
        // The input is 480 x 640: y ends at 480/640 of the longer side.
        assert_eq!(photo.point([1.0, 0.75], [480, 640]), [300.0, 200.0]);
        assert_eq!(photo.point([0.5, 0.375], [480, 640]), [150.0, 100.0]);
        assert_eq!(photo.point([0.25, 0.5], [640, 320]), [150.0, 100.0]);
    }

    #[test]
    fn long_names_keep_their_end_and_fit() {
        assert_eq!(fit("a.jpg", 11.0, 180.0), "a.jpg");
        for name in ["folder/".repeat(20), "W".repeat(60), "道".repeat(40)] {
            let short = fit(&name, 11.0, 180.0);
            assert!(text_width(&short, 11.0) <= 180.0, "{short}");
            let end = short.strip_prefix('…').expect("is cut");
            assert!(name.ends_with(end) && end.chars().count() > 12, "{short}");
        }
        assert_eq!(fit("abc", 11.0, 1.0), "…");
    }

    #[test]
    fn colours_run_from_end_to_end() {
        assert_eq!(colour(-1.0), "#440154");
        assert_eq!(colour(1.0), "#fde725");
        assert_eq!(colour(f64::NAN), colour(f64::NAN));
    }
}
