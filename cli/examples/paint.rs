//! Paints the picture that `ramie demo` shows when none is named: a sunset over hills, and a word.
//!
//! ```text
//! cargo run -p ramie-cli --example paint -- cli/assets/ramie.png
//! ```
//!
//! The picture is painted from formulas, so that the repository holds its source and nobody's
//! photograph. It has as many pixels as a scene has grains, so each pixel becomes one grain.

use std::error::Error;
use std::fs::File;
use std::io::BufWriter;

const WIDTH: usize = 400;
const HEIGHT: usize = 250;

/// Points in each direction of which a pixel is the mean: edges become smooth.
const SAMPLES: usize = 4;

type Colour = [f32; 3];

/// The sky from the zenith to the horizon: height (0 is the top edge of the picture) and colour.
const SKY: [(f32, Colour); 6] = [
    (0.00, [44.0, 42.0, 118.0]),
    (0.20, [101.0, 58.0, 152.0]),
    (0.38, [192.0, 74.0, 148.0]),
    (0.52, [246.0, 110.0, 110.0]),
    (0.64, [255.0, 164.0, 92.0]),
    (0.74, [255.0, 222.0, 140.0]),
];

/// A range of hills: the height of its ridge, how far that swings, how many waves fit into the
/// picture, where they begin, and the colour.
struct Hills {
    ridge: f32,
    swing: f32,
    waves: f32,
    shift: f32,
    colour: Colour,
}

/// The ranges from the farthest to the nearest.
const HILLS: [Hills; 4] = [
    Hills { ridge: 0.660, swing: 0.040, waves: 1.7, shift: 0.4, colour: [206.0, 96.0, 128.0] },
    Hills { ridge: 0.730, swing: 0.045, waves: 1.3, shift: 2.6, colour: [139.0, 72.0, 140.0] },
    Hills { ridge: 0.815, swing: 0.040, waves: 1.9, shift: 5.1, colour: [58.0, 92.0, 138.0] },
    Hills { ridge: 0.905, swing: 0.035, waves: 1.1, shift: 1.2, colour: [36.0, 128.0, 122.0] },
];

const SUN: Colour = [255.0, 244.0, 190.0];
const SUN_CENTRE: (f32, f32) = (0.80, 0.575);
const SUN_RADIUS: f32 = 0.105;

const INK: Colour = [255.0, 246.0, 226.0];
const SHADOW: Colour = [62.0, 30.0, 92.0];

/// Height of the letters, half the width of their strokes, and the gap between them.
const LETTER_HEIGHT: f32 = 0.32;
const STROKE: f32 = 0.034;
const GAP: f32 = 0.12;
const WORD_TOP: f32 = 0.13;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("name the PNG file to write")?;
    let mut bytes = Vec::with_capacity(WIDTH * HEIGHT * 3);
    let word = word();
    for row in 0..HEIGHT {
        for column in 0..WIDTH {
            bytes.extend(pixel(&word, column, row).map(|channel| channel.round() as u8));
        }
    }
    let mut encoder = png::Encoder::new(BufWriter::new(File::create(path)?), WIDTH as u32, HEIGHT as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::High);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&bytes)?;
    Ok(writer.finish()?)
}

/// The mean colour of the points in a pixel.
fn pixel(word: &[Segment], column: usize, row: usize) -> Colour {
    let mut sum = [0.0; 3];
    for sample in 0..SAMPLES * SAMPLES {
        let inside = |position: usize| (position as f32 + 0.5) / SAMPLES as f32;
        let x = (column as f32 + inside(sample % SAMPLES)) / HEIGHT as f32;
        let y = (row as f32 + inside(sample / SAMPLES)) / HEIGHT as f32;
        let colour = point(word, x, y);
        for (total, channel) in sum.iter_mut().zip(colour) {
            *total += channel / (SAMPLES * SAMPLES) as f32;
        }
    }
    sum
}

/// The colour of a point. Both coordinates are measured in heights of the picture.
fn point(word: &[Segment], x: f32, y: f32) -> Colour {
    let aspect = WIDTH as f32 / HEIGHT as f32;
    let from_sun = (x - SUN_CENTRE.0).hypot(y - SUN_CENTRE.1);
    let mut colour = sky(y);
    colour = blend(colour, SUN, 0.75 * (-(from_sun - SUN_RADIUS).max(0.0) * 9.0).exp());
    if from_sun < SUN_RADIUS {
        colour = SUN;
    }
    for hills in &HILLS {
        let turn = std::f32::consts::TAU * x / aspect;
        let wave =
            (turn * hills.waves + hills.shift).sin() + 0.4 * (turn * hills.waves * 2.7 + hills.shift).sin();
        let below = y - hills.ridge - hills.swing * wave;
        if below > 0.0 {
            // The ridge catches the light; the slope darkens towards its foot.
            let lit = blend(hills.colour, SUN, 0.35 * (-below * 60.0).exp());
            colour = lit.map(|channel| channel * (1.0 - 1.4 * below.min(0.25)));
        }
    }
    let distance = |x: f32, y: f32| word.iter().map(|s| s.distance(x, y)).fold(f32::MAX, f32::min);
    if distance(x, y) < STROKE {
        INK
    } else if distance(x - 0.012, y - 0.014) < STROKE {
        blend(colour, SHADOW, 0.6)
    } else {
        colour
    }
}

fn sky(y: f32) -> Colour {
    let (mut above, mut colour) = SKY[0];
    for (height, next) in SKY {
        if y <= height {
            let share = (y - above) / (height - above).max(f32::EPSILON);
            return blend(colour, next, share.clamp(0.0, 1.0));
        }
        (above, colour) = (height, next);
    }
    colour
}

fn blend(from: Colour, to: Colour, share: f32) -> Colour {
    std::array::from_fn(|channel| from[channel] + (to[channel] - from[channel]) * share)
}

/// A straight piece of a stroke.
struct Segment {
    start: (f32, f32),
    end: (f32, f32),
}

impl Segment {
    /// How far a point lies from the segment.
    fn distance(&self, x: f32, y: f32) -> f32 {
        let (dx, dy) = (self.end.0 - self.start.0, self.end.1 - self.start.1);
        let (px, py) = (x - self.start.0, y - self.start.1);
        let along = ((px * dx + py * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
        (px - along * dx).hypot(py - along * dy)
    }
}

/// The strokes of the word, centred. A letter is one unit high; each of its strokes is a row of points.
fn word() -> Vec<Segment> {
    let bowl = (0..=12).map(|step| {
        let angle = std::f32::consts::PI * (step as f32 / 12.0 - 0.5);
        (0.33 + 0.27 * angle.cos(), 0.27 + 0.27 * angle.sin())
    });
    let bowl: Vec<_> = [(0.0, 0.0)].into_iter().chain(bowl).chain([(0.0, 0.54)]).collect();
    let letters = [
        vec![vec![(0.0, 0.0), (0.0, 1.0)], bowl, vec![(0.3, 0.54), (0.6, 1.0)]],
        vec![vec![(0.0, 1.0), (0.37, 0.0), (0.74, 1.0)], vec![(0.13, 0.66), (0.61, 0.66)]],
        vec![vec![(0.0, 1.0), (0.0, 0.0), (0.43, 0.62), (0.86, 0.0), (0.86, 1.0)]],
        vec![vec![(0.0, 0.0), (0.0, 1.0)]],
        vec![vec![(0.55, 0.0), (0.0, 0.0), (0.0, 1.0), (0.55, 1.0)], vec![(0.0, 0.5), (0.46, 0.5)]],
    ];
    let mut segments = Vec::new();
    let mut left = 0.0;
    for strokes in &letters {
        let mut right = left;
        for points in strokes {
            let place = |(x, y): (f32, f32)| (left + x * LETTER_HEIGHT, WORD_TOP + y * LETTER_HEIGHT);
            segments
                .extend(points.windows(2).map(|ends| Segment { start: place(ends[0]), end: place(ends[1]) }));
            right = points.iter().fold(right, |right, &point| right.max(place(point).0));
        }
        left = right + GAP;
    }
    let shift = (WIDTH as f32 / HEIGHT as f32 - (left - GAP)) / 2.0;
    for segment in &mut segments {
        segment.start.0 += shift;
        segment.end.0 += shift;
    }
    segments
}
