//! Pictures: reading a PNG file, and bringing it to another size.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Seek};
use std::path::Path;

use crate::error::Failure;

/// The picture that is used when none is named. `examples/paint.rs` makes it.
const EMBEDDED: &[u8] = include_bytes!("../assets/ramie.png");

/// Larger pictures are refused, so that a few bytes of a broken file cannot ask for all memory.
const PIXELS_MAX: u64 = 64 * 1024 * 1024;

/// A picture in memory: rows from the top, each pixel red, green, blue, alpha.
#[derive(Debug)]
pub(crate) struct Picture {
    width: usize,
    pixels: Vec<[u8; 4]>,
}

impl Picture {
    /// The picture that comes with the program.
    pub(crate) fn embedded() -> Result<Self, Failure> {
        decode(Cursor::new(EMBEDDED))
            .map_err(|problem| Failure::new(format!("the embedded picture {problem}")))
    }

    /// Reads a PNG file.
    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let file = File::open(path).map_err(|error| {
            Failure::new(format!(
                "cannot open the picture '{shown}' ({error}): name a PNG file that you may read"
            ))
        })?;
        decode(BufReader::new(file))
            .map_err(|problem| Failure::new(format!("the picture '{shown}' {problem}")))
    }

    /// A picture of these pixels, row by row; there is at least one row of `width` pixels.
    pub(crate) fn from_pixels(width: usize, pixels: Vec<[u8; 4]>) -> Self {
        debug_assert!(width > 0 && !pixels.is_empty() && pixels.len().is_multiple_of(width));
        Self { width, pixels }
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn height(&self) -> usize {
        self.pixels.len() / self.width
    }

    pub(crate) fn pixel(&self, column: usize, row: usize) -> [u8; 4] {
        self.pixels[row * self.width + column]
    }

    /// The picture with another number of pixels. Each new pixel is the mean of the old ones that
    /// it covers, or the nearest one where it covers less than one.
    pub(crate) fn resized(&self, width: usize, height: usize) -> Self {
        let span = |index: usize, new: usize, old: usize| {
            let start = index * old / new;
            start..((index + 1) * old / new).max(start + 1)
        };
        let mut pixels = Vec::with_capacity(width * height);
        for row in 0..height {
            for column in 0..width {
                let (columns, rows) = (span(column, width, self.width), span(row, height, self.height()));
                let covered = rows.flat_map(|y| columns.clone().map(move |x| self.pixel(x, y)));
                pixels.push(mean(covered));
            }
        }
        Self::from_pixels(width, pixels)
    }
}

/// The mean of some pixels. Transparent ones have no say in the colour.
fn mean(pixels: impl Iterator<Item = [u8; 4]>) -> [u8; 4] {
    let (mut count, mut weight, mut sums) = (0_u64, 0_u64, [0_u64; 3]);
    for [red, green, blue, alpha] in pixels {
        let alpha = u64::from(alpha);
        count += 1;
        weight += alpha;
        for (sum, channel) in sums.iter_mut().zip([red, green, blue]) {
            *sum += u64::from(channel) * alpha;
        }
    }
    let [red, green, blue] = sums.map(|sum| (sum / weight.max(1)) as u8);
    [red, green, blue, (weight / count.max(1)) as u8]
}

/// Reads a PNG. The error completes a sentence that starts with the name of the picture.
fn decode(reader: impl BufRead + Seek) -> Result<Picture, String> {
    let mut decoder = png::Decoder::new(reader);
    decoder.set_transformations(png::Transformations::normalize_to_color8() | png::Transformations::ALPHA);
    // The limit below, in pixels, is the one that matters; this one must not be hit first.
    decoder.set_limits(png::Limits { bytes: PIXELS_MAX as usize * 8 });
    let header = decoder.read_header_info().map_err(broken)?;
    let (width, height) = (header.width as usize, header.height as usize);
    if u64::from(header.width) * u64::from(header.height) > PIXELS_MAX {
        return Err(format!(
            "has {width} x {height} pixels, which is too many: scale it down to 64 million or less"
        ));
    }
    let mut reader = decoder.read_info().map_err(broken)?;
    let size = reader.output_buffer_size().ok_or("is too large for this machine: scale it down")?;
    let mut bytes = vec![0; size];
    let frame = reader.next_frame(&mut bytes).map_err(broken)?;
    let bytes = &bytes[..frame.buffer_size()];

    let pixels = match frame.color_type {
        png::ColorType::Rgba => bytes.chunks_exact(4).map(|p| [p[0], p[1], p[2], p[3]]).collect(),
        png::ColorType::GrayscaleAlpha => bytes.chunks_exact(2).map(|p| [p[0], p[0], p[0], p[1]]).collect(),
        other => {
            return Err(format!("has colours of a kind ({other:?}) that is not supported: save it as RGB"));
        }
    };
    Ok(Picture::from_pixels(width, pixels))
}

fn broken(error: png::DecodingError) -> String {
    format!("cannot be read as PNG ({error}): name an intact PNG file, or convert the picture to PNG")
}

#[cfg(test)]
mod tests;
