//! Reading pictures of all kinds, and resizing.

use super::*;

fn png(colour: png::ColorType, depth: png::BitDepth, width: u32, height: u32, data: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    if colour == png::ColorType::Indexed {
        encoder.set_palette(vec![9, 8, 7, 30, 20, 10]);
    }
    let mut writer = encoder.write_header().expect("the header is valid");
    writer.write_image_data(data).expect("the data is valid");
    writer.finish().expect("memory can be written");
    file
}

fn read(file: &[u8]) -> Result<Picture, String> {
    decode(Cursor::new(file))
}

#[test]
fn every_kind_of_colour_is_read() {
    use png::{BitDepth, ColorType};
    let kinds: [(ColorType, BitDepth, &[u8], [u8; 4]); 7] = [
        (ColorType::Rgb, BitDepth::Eight, &[1, 2, 3], [1, 2, 3, 255]),
        (ColorType::Rgba, BitDepth::Eight, &[1, 2, 3, 4], [1, 2, 3, 4]),
        (ColorType::Rgb, BitDepth::Sixteen, &[1, 0, 2, 0, 3, 0], [1, 2, 3, 255]),
        (ColorType::Grayscale, BitDepth::Eight, &[77], [77, 77, 77, 255]),
        (ColorType::Grayscale, BitDepth::One, &[0x80], [255, 255, 255, 255]),
        (ColorType::GrayscaleAlpha, BitDepth::Eight, &[77, 5], [77, 77, 77, 5]),
        (ColorType::Indexed, BitDepth::Eight, &[1], [30, 20, 10, 255]),
    ];
    for (colour, depth, data, expected) in kinds {
        let picture = read(&png(colour, depth, 1, 1, data)).expect("the file is intact");
        assert_eq!(picture.pixel(0, 0), expected, "{colour:?}, {depth:?}");
    }
}

#[test]
fn what_is_no_picture_is_an_error_not_a_panic() {
    let file = png(png::ColorType::Rgb, png::BitDepth::Eight, 8, 8, &[100; 8 * 8 * 3]);
    assert!(read(&file).is_ok());
    assert!(read(b"").is_err());
    assert!(read(b"this is a text, not a picture").is_err());
    for length in 0..file.len() - 12 {
        let result = read(&file[..length]);
        // The data may be complete before the file is.
        assert!(result.is_err() || length > 40, "the first {length} bytes");
    }
    for position in 0..file.len() {
        let mut broken = file.clone();
        broken[position] ^= 0x55;
        let _ = read(&broken);
    }
}

#[test]
fn a_huge_picture_is_refused_by_its_header() {
    let mut file = Vec::new();
    drop(png::Encoder::new(&mut file, 1 << 20, 1 << 20).write_header().expect("the header is valid"));
    let problem = read(&file).expect_err("it is too large");
    assert!(problem.contains("too many"), "{problem}");
}

#[test]
fn shrinking_takes_the_mean_and_growing_repeats() {
    let picture =
        Picture::from_pixels(2, vec![[0, 0, 0, 255], [100, 0, 0, 255], [0, 60, 0, 255], [100, 60, 8, 255]]);
    assert_eq!(picture.resized(1, 1).pixels, [[50, 30, 2, 255]]);
    let large = picture.resized(4, 6);
    assert_eq!((large.width(), large.height()), (4, 6));
    assert_eq!(large.pixel(1, 2), [0, 0, 0, 255]);
    assert_eq!(large.pixel(2, 3), [100, 60, 8, 255]);
}

#[test]
fn transparent_pixels_do_not_tint_the_mean() {
    let picture = Picture::from_pixels(2, vec![[200, 100, 50, 255], [0, 0, 0, 0]]);
    assert_eq!(picture.resized(1, 1).pixels, [[200, 100, 50, 127]]);
}
