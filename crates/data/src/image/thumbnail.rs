//! A photograph small enough for a page.

use super::filter::Filter;
use super::{Rgb8, resample};
use crate::Result;

impl Rgb8 {
    /// The image with its longer side at most `longest` pixels, antialiased; unchanged where it is that small.
    ///
    /// # Errors
    /// [`DataError::Request`](crate::DataError::Request) for an image that contradicts itself.
    pub fn thumbnail(self, longest: usize) -> Result<Self> {
        self.check()?;
        let most = self.width.max(self.height);
        if most <= longest.max(1) {
            return Ok(self);
        }
        let side = |pixels: usize| (pixels * longest.max(1)).div_ceil(most).max(1);
        Ok(resample::resize(&self, side(self.height), side(self.width), Filter::Bilinear))
    }
}
