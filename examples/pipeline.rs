//! Ticks that overlap: while one is drawn, the next is simulated. What a tick computes lies in its frame arena, and is gone
//! when the tick is.
//!
//! `cargo run --release --example pipeline`

use ramie::{FrameArenas, FramePipeline, JobSystem};

/// What lasts from tick to tick.
struct World {
    heights: Vec<f32>,
    speeds: Vec<f32>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let system = JobSystem::new()?;
    let arenas = FrameArenas::new(&system, 3)?;
    let mut pipeline = FramePipeline::new(&arenas);

    let world = World { heights: (0..50_000).map(|i| i as f32 * 0.01).collect(), speeds: vec![0.0; 50_000] };
    let simulate = pipeline.stage("simulate", world);
    let draw = pipeline.stage("draw", Vec::new());

    let seconds_per_tick = 1.0 / 60.0;
    let report = pipeline.run(0..120, |f, tick| {
        // The heights of this tick stay as they are, while the world goes on.
        let heights: &[f32] = f.enter(&simulate, |world| {
            let World { heights, speeds } = world;
            ramie::par(&mut *speeds).for_each(|speed| *speed -= 9.81 * seconds_per_tick);
            for (height, speed) in heights.iter_mut().zip(speeds) {
                *height += *speed * seconds_per_tick;
                if *height < 0.0 {
                    (*height, *speed) = (-*height, *speed * -0.5);
                }
            }
            f.frame().alloc_slice_copy(heights)
        });
        // In no stage: several ticks may be here at once.
        let columns = f.frame().alloc_slice_fill_with(60, |column| {
            let part = &heights[column * heights.len() / 60..(column + 1) * heights.len() / 60];
            part.iter().sum::<f32>() / part.len() as f32
        });
        f.enter(&draw, |lines: &mut Vec<String>| {
            if tick % 20 == 0 {
                lines.push(columns.iter().map(|mean| shade(*mean)).collect());
            }
        });
    });

    draw.into_inner().iter().for_each(|line| println!("{line}"));
    println!("{report:#?}");
    println!("{:#?}", arenas.stats());
    Ok(())
}

/// A character for a height in metres.
fn shade(height: f32) -> char {
    let shades = [' ', '.', ':', '-', '=', '+', '*', '#'];
    shades[((height / 70.0) as usize).min(shades.len() - 1)]
}
