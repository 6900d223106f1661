//! Which grains a picture becomes.

use super::*;
use crate::picture::Picture;

fn plain(width: usize, height: usize, alpha: u8) -> Picture {
    Picture::from_pixels(width, vec![[10, 20, 30, alpha]; width * height])
}

#[test]
fn the_embedded_picture_has_a_pixel_for_each_grain() {
    let picture = Picture::embedded().expect("the embedded picture is intact");
    let scene = Scene::new(&picture, GRAINS_MAX, 1);
    assert_eq!(scene.grains.len(), GRAINS_MAX);
    assert_eq!(scene.colours.len(), GRAINS_MAX);
    let [red, green, blue, _] = picture.pixel(123, 45);
    assert_eq!(scene.colours[45 * picture.width() + 123], [red, green, blue]);
}

#[test]
fn pictures_of_all_proportions_stay_within_the_limits() {
    for (width, height) in [(1, 1), (1, 5000), (5000, 1), (300, 300), (400, 250), (37, 911), (911, 37)] {
        for grains_max in [1, 2, 10, 1234, GRAINS_MAX] {
            let (columns, rows) = lattice(width, height, grains_max);
            assert!(columns >= 1 && rows >= 1);
            assert!(columns * rows <= grains_max, "{width} x {height}: {columns} x {rows} for {grains_max}");
            assert!(columns * PITCH <= PICTURE_WIDTH_MAX && rows * PITCH <= PICTURE_HEIGHT_MAX);
        }
    }
}

#[test]
fn no_grain_hangs_in_a_wall() {
    for (width, height) in [(5000, 1), (1, 5000), (300, 300)] {
        let scene = Scene::new(&plain(width, height, 255), GRAINS_MAX, 1);
        for grain in &scene.grains {
            let (row, column) = (grain.cell as usize / SIDE, grain.cell as usize % SIDE);
            assert!(!scene.terrain.walls(row).iter().any(|span| span.contains(&column)));
        }
    }
}

#[test]
fn transparent_pixels_are_no_grains() {
    assert!(Scene::new(&plain(20, 20, 0), GRAINS_MAX, 1).grains.is_empty());
    let mut pixels = vec![[1, 2, 3, 255]; 400];
    pixels[..200].fill([0, 0, 0, 0]);
    let scene = Scene::new(&Picture::from_pixels(20, pixels), 400, 1);
    assert_eq!(scene.grains.len(), 200);
    assert!(scene.colours.iter().all(|&colour| colour == [1, 2, 3]));
}

#[test]
fn what_hangs_low_is_let_go_early() {
    let scene = Scene::new(&plain(100, 100, 255), 10_000, 1);
    let mean = |grains: &[Grain]| {
        grains.iter().map(|grain| u32::from(grain.release)).sum::<u32>() / grains.len() as u32
    };
    assert!(
        scene
            .grains
            .iter()
            .all(|grain| (HOLD_STEPS..=HOLD_STEPS + RELEASE_STEPS).contains(&grain.release.into()))
    );
    assert!(mean(&scene.grains[9_000..]) + RELEASE_STEPS / 4 < mean(&scene.grains[..1_000]));
}
