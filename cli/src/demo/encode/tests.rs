//! What is written can be read again.

use std::io::Cursor;

use super::*;

/// A picture with a different colour for each number.
fn pixels(side: usize, number: usize) -> Vec<u8> {
    (0..side * side).flat_map(|index| [number as u8, (index % 251) as u8, (index / side) as u8]).collect()
}

#[test]
fn a_frame_is_a_png_of_its_pixels() {
    let (expected, mut file) = (pixels(FRAME_SIDE, 5), Vec::new());
    frame(&expected, &mut file).expect("memory can be written");
    let mut reader = png::Decoder::new(Cursor::new(&file)).read_info().expect("the file is a PNG");
    let mut bytes = vec![0; reader.output_buffer_size().expect("the size is known")];
    reader.next_frame(&mut bytes).expect("the file is complete");
    assert!(bytes == expected, "the pixels differ");
}

#[test]
fn an_animation_shows_all_pictures_in_order() {
    let path = std::env::temp_dir().join(format!("ramie-animation-{}.png", std::process::id()));
    let pictures: Vec<_> =
        (0..5).map(|number| picture(&pixels(PICTURE_SIDE, number)).expect("memory can be written")).collect();
    write_animation(&path, &pictures).expect("the temporary folder can be written");
    let file = std::fs::read(&path).expect("it was written");
    std::fs::remove_file(&path).expect("it is ours");

    let mut reader = png::Decoder::new(Cursor::new(&file)).read_info().expect("the file is a PNG");
    let control = reader.info().animation_control.expect("the file is animated");
    assert_eq!((control.num_frames, control.num_plays), (5, 0));
    let mut bytes = vec![0; reader.output_buffer_size().expect("the size is known")];
    for number in 0..5 {
        reader.next_frame(&mut bytes).expect("the picture is complete");
        assert!(bytes == pixels(PICTURE_SIDE, number), "picture {number} differs");
        let frame = reader.info().frame_control.expect("each picture has its frame control");
        assert_eq!((frame.delay_num, frame.delay_den), (1, PICTURES_PER_SECOND));
    }
}
