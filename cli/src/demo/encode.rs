//! Compresses pictures to PNG, and puts compressed pictures together to an animated one.
//!
//! Compressing is most of the work of the whole demonstration, and each picture can be compressed
//! by itself. So the pictures of the animation are compressed in the jobs that encode the frames, as
//! many at a time as there are workers, and only their bytes are put one after the other at the end.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use png::DeflateCompression;
use png::chunk::{self, ChunkType};

use super::draw::FRAME_SIDE;
use crate::error::Failure;

/// Every so many frames one goes into the animation.
pub(crate) const FRAMES_PER_PICTURE: u32 = 2;

/// Pixels in a row of the animation, and rows.
const PICTURE_SIDE: usize = FRAME_SIDE / 2;

/// Pictures of the animation that are shown in a second.
const PICTURES_PER_SECOND: u16 = 15;

/// The compressed pixels of a picture: the content of a PNG's data chunks.
#[derive(Debug)]
pub(crate) struct Pixels(Vec<u8>);

/// Compresses the pixels of a frame to a PNG file in memory.
pub(crate) fn frame(pixels: &[u8], file: &mut impl Write) -> Result<(), Failure> {
    compress(pixels, FRAME_SIDE, file)
        .map_err(|error| Failure::new(format!("cannot encode a frame ({error}): please report this")))
}

/// Compresses the pixels of a picture of the animation.
pub(crate) fn picture(pixels: &[u8]) -> Result<Pixels, Failure> {
    let mut file = Vec::new();
    compress(pixels, PICTURE_SIDE, &mut file)
        .map_err(|error| Failure::new(format!("cannot encode a picture ({error}): please report this")))?;
    Ok(Pixels(data(&file)))
}

/// Writes the animated PNG file of these pictures, which runs for ever.
pub(crate) fn write_animation(path: &Path, pictures: &[Pixels]) -> Result<(), Failure> {
    let write = || -> Result<(), png::EncodingError> {
        let mut file = BufWriter::new(File::create(path)?);
        let mut writer = encoder(PICTURE_SIDE, &mut file).write_header()?;
        let picture_count = (pictures.len() as u32).to_be_bytes();
        let endless = 0_u32.to_be_bytes();
        writer.write_chunk(chunk::acTL, &[picture_count, endless].concat())?;
        // Chunks about pictures are numbered, all but the data of the first.
        let mut numbers = (0_u32..).map(u32::to_be_bytes);
        let mut number = || numbers.next().unwrap_or_default();
        for (index, Pixels(data)) in pictures.iter().enumerate() {
            writer.write_chunk(chunk::fcTL, &frame_control(number()))?;
            if index == 0 {
                // The first is also what programs show that know nothing of animations.
                writer.write_chunk(chunk::IDAT, data)?;
            } else {
                writer.write_chunk(chunk::fdAT, &[&number()[..], data].concat())?;
            }
        }
        writer.finish()?;
        Ok(file.flush()?)
    };
    write().map_err(|error| {
        Failure::new(format!(
            "cannot write '{}' ({error}): make room or choose another --out",
            path.display()
        ))
    })
}

/// The content of the chunk that says how a picture of the animation is shown.
fn frame_control(number: [u8; 4]) -> Vec<u8> {
    let side = (PICTURE_SIDE as u32).to_be_bytes();
    let origin = 0_u32.to_be_bytes();
    let delay_s = [1_u16.to_be_bytes(), PICTURES_PER_SECOND.to_be_bytes()].concat();
    // Nothing is disposed of, and the picture replaces the one before.
    let operations = [0_u8, 0_u8];
    [&number[..], &side, &side, &origin, &origin, &delay_s, &operations].concat()
}

/// Writes a square picture as a PNG file. Sand has little in common with the pixel beside it, so
/// no filter makes smaller files than any, and the fastest real compression does well enough.
fn compress(pixels: &[u8], side: usize, file: &mut impl Write) -> Result<(), png::EncodingError> {
    let mut encoder = encoder(side, file);
    encoder.set_deflate_compression(DeflateCompression::Level(1));
    encoder.set_filter(png::Filter::NoFilter);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()
}

fn encoder<W: Write>(side: usize, sink: W) -> png::Encoder<'static, W> {
    let mut encoder = png::Encoder::new(sink, side as u32, side as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder
}

/// The content of the data chunks of a PNG file that [`compress`] made.
fn data(file: &[u8]) -> Vec<u8> {
    let mut data = Vec::with_capacity(file.len());
    // Behind the signature come chunks: length, name, content, checksum.
    let mut rest = file.get(8..).unwrap_or_default();
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((name, content)) = behind.split_first_chunk::<4>() else { break };
        if ChunkType(*name) == chunk::IDAT {
            data.extend_from_slice(content.get(..length).unwrap_or_default());
        }
        rest = content.get(length + 4..).unwrap_or_default();
    }
    data
}

#[cfg(test)]
mod tests;
