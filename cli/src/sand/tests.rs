//! The sand's rules, and that the parallel form follows them no matter how many workers it has.

use std::collections::HashSet;

use ramie::JobSystem;

use super::grid::{FREE_BIT, is_free};
use super::parallel::{self, AtomicGrid};
use super::rules::{Step, settle};
use super::scene::Scene;
use super::serial::{self, PlainGrid};
use super::simulation::Simulation;
use super::{GRAINS_MAX, Grain, SIDE};
use crate::picture::Picture;

const ROW: u32 = SIDE as u32;

/// Enough steps that grains fall, are thrown aside by pegs and pile up.
const FRAMES: u32 = 60;

fn scene(grains_max: usize, seed: u64) -> Scene {
    Scene::new(&Picture::embedded().expect("the embedded picture is intact"), grains_max, seed)
}

fn serial_frame(simulation: &mut Simulation<'_>, grid: &mut PlainGrid) {
    simulation.advance(|step, terrain, grains| serial::step(step, terrain, grains, grid));
}

fn parallel_frame(simulation: &mut Simulation<'_>, grid: &mut AtomicGrid<'_>) {
    simulation.advance(|step, terrain, grains| parallel::step(step, terrain, grains, grid));
}

/// Every grain has a cell of its own, and none lies in a wall.
fn check_cells(scene: &Scene, simulation: &Simulation<'_>) {
    let mut occupied = HashSet::new();
    assert_eq!(simulation.grains().len(), scene.grains.len());
    for (index, grain) in simulation.grains().iter().enumerate() {
        let (row, column) = ((grain.cell / ROW) as usize, (grain.cell % ROW) as usize);
        assert!(occupied.insert(grain.cell), "grain {index} shares its cell {column}, {row}");
        let in_wall = scene.terrain.walls(row).iter().any(|span| span.contains(&column));
        assert!(!in_wall, "grain {index} is in the wall at {column}, {row}");
    }
}

fn grain(column: u32, row: u32) -> Grain {
    let cell = row * ROW + column;
    Grain { cell, target: cell, rows_moved: 0, columns_moved: 0, release: 0 }
}

#[test]
fn parallel_and_serial_sand_end_in_the_same_cells() {
    let scene = scene(GRAINS_MAX, 7);
    let mut serial = Simulation::new(&scene);
    let mut grid = PlainGrid::new();
    (0..FRAMES).for_each(|_| serial_frame(&mut serial, &mut grid));
    let moved = serial.grains().iter().zip(&scene.grains).filter(|(now, then)| now.cell != then.cell).count();
    assert!(moved > scene.grains.len() / 4, "only {moved} grains moved: the comparison would say little");

    for worker_count in [1, 2, 3, 8] {
        let system = JobSystem::builder().workers(worker_count).build().expect("the system starts");
        let mut parallel = Simulation::new(&scene);
        let mut cells = parallel::empty_cells();
        let mut grid = AtomicGrid::new(&mut cells);
        system.run(|| (0..FRAMES).for_each(|_| parallel_frame(&mut parallel, &mut grid)));
        for (index, (ours, theirs)) in parallel.grains().iter().zip(serial.grains()).enumerate() {
            assert_eq!(ours.cell, theirs.cell, "grain {index} with {worker_count} workers");
        }
        assert_eq!(parallel.checksum(), serial.checksum(), "{worker_count} workers");
    }
}

#[test]
fn no_grain_is_lost_and_no_cell_holds_two() {
    let scene = scene(20_000, 3);
    let mut simulation = Simulation::new(&scene);
    let mut grid = PlainGrid::new();
    check_cells(&scene, &simulation);
    for _ in 0..FRAMES * 2 {
        serial_frame(&mut simulation, &mut grid);
        check_cells(&scene, &simulation);
    }
}

#[test]
fn sand_comes_to_rest_at_the_bottom() {
    let scene = scene(500, 1);
    let mut simulation = Simulation::new(&scene);
    let mut grid = PlainGrid::new();
    (0..200).for_each(|_| serial_frame(&mut simulation, &mut grid));
    let settled = simulation.checksum();
    serial_frame(&mut simulation, &mut grid);
    assert_eq!(simulation.checksum(), settled, "something still moves");
    let floor = ROW - 2;
    let low = simulation.grains().iter().filter(|grain| grain.cell / ROW > floor - 60).count();
    assert!(low > 300, "only {low} of 500 grains are near the floor");
}

#[test]
fn another_seed_gives_other_sand() {
    let checksum = |seed| {
        let scene = scene(5_000, seed);
        let mut simulation = Simulation::new(&scene);
        let mut grid = PlainGrid::new();
        (0..FRAMES).for_each(|_| serial_frame(&mut simulation, &mut grid));
        simulation.checksum()
    };
    assert_eq!(checksum(1), checksum(1));
    assert_ne!(checksum(1), checksum(2));
    assert_ne!(checksum(1), checksum(1 << 32 | 1), "the upper half of the seed counts too");
}

#[test]
fn a_falling_grain_gets_faster_up_to_a_limit() {
    let mut grain = grain(500, 100);
    let mut rows = Vec::new();
    for number in 0..6 {
        let step = Step::new(number, 1);
        grain.target = step.wish(0, &grain, |_| true);
        settle(&mut grain, true);
        assert_eq!(grain.cell % ROW, 500, "it has no reason to leave its column");
        rows.push(grain.cell / ROW);
    }
    assert_eq!(rows, [101, 103, 106, 109, 112, 115]);
}

#[test]
fn a_grain_stops_above_what_is_in_its_way() {
    let mut grain = grain(500, 100);
    grain.rows_moved = 3;
    let obstacle = 102 * ROW + 500;
    let step = Step::new(0, 1);
    assert_eq!(step.wish(0, &grain, |cell| cell != obstacle), 101 * ROW + 500);
}

#[test]
fn a_blocked_grain_slides_to_the_side_that_is_free() {
    let grain = grain(500, 100);
    for number in 0..50 {
        let step = Step::new(number, 1);
        let only_right = |cell: u32| cell % ROW > 500;
        let target = step.wish(0, &grain, only_right);
        assert_eq!(target / ROW, 101);
        assert!((501..=503).contains(&(target % ROW)));
        assert_eq!(step.wish(0, &grain, |_| false), grain.cell, "no room, no move");
        let only_below_the_sides = |cell: u32| cell / ROW == 101 && cell % ROW != 500;
        assert_eq!(step.wish(0, &grain, only_below_the_sides), grain.cell, "it does not pass a corner");
    }
}

#[test]
fn a_grain_hangs_until_it_is_released() {
    let grain = Grain { release: 5, ..grain(500, 100) };
    assert_eq!(Step::new(4, 1).wish(0, &grain, |_| true), grain.cell);
    assert_ne!(Step::new(5, 1).wish(0, &grain, |_| true), grain.cell);
}

#[test]
fn sideways_motion_is_kept_in_the_fall_and_lost_at_an_obstacle() {
    let mut grain = grain(500, 100);
    (grain.rows_moved, grain.columns_moved) = (3, -3);
    let step = Step::new(0, 1);
    let target = step.wish(0, &grain, |_| true);
    assert_eq!(target / ROW, 103);
    assert!((497..=498).contains(&(target % ROW)));
    assert_eq!(step.wish(0, &grain, |cell| cell % ROW == 500), 103 * ROW + 500);
    settle(&mut grain, false);
    assert_eq!((grain.cell, grain.rows_moved, grain.columns_moved), (100 * ROW + 500, 0, 0));
}

#[test]
fn claims_are_unique_and_leave_a_cell_free() {
    for number in [0, 1, 1000] {
        let step = Step::new(number, 9);
        let claims: HashSet<u32> = (0..GRAINS_MAX).map(|index| step.claim(index)).collect();
        assert_eq!(claims.len(), GRAINS_MAX);
        assert!(claims.iter().all(|&claim| is_free(claim) && claim >= FREE_BIT && claim != u32::MAX));
    }
}

#[test]
fn no_grain_has_precedence_in_every_step() {
    let wins = (0..1000)
        .filter(|&number| Step::new(number, 1).claim(10) < Step::new(number, 1).claim(90_000))
        .count();
    assert!((300..700).contains(&wins), "grain 10 wins {wins} of 1000 steps");
}
