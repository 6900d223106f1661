//! A frame in the manner of a game engine: three phases, each a parallel loop over the same objects, and a job that
//! loads something meanwhile and is waited for at the end, from deep inside ordinary code.
//!
//! `cargo run --release --example frame`

use ramie::{Counter, JobSystem};

/// An object that falls and bounces.
struct Body {
    height: f32,
    speed: f32,
}

fn main() -> Result<(), ramie::BuildError> {
    let system = JobSystem::new()?;
    let highest = system.run(|| {
        let mut bodies: Vec<Body> =
            (0..100_000).map(|i| Body { height: i as f32 * 0.01, speed: 0.0 }).collect();
        for frame in 0..60 {
            let loaded = Counter::new(0);
            let guard = loaded.guard();
            ramie::spawn(move || {
                let _signals_at_the_end = guard;
                load_texture(frame);
            });
            ramie::par(&mut bodies).for_each(|body| body.speed -= 9.81 / 60.0);
            ramie::par(&mut bodies).for_each(|body| body.height += body.speed / 60.0);
            ramie::par(&mut bodies).for_each(|body| {
                if body.height < 0.0 {
                    body.height = -body.height;
                    body.speed *= -0.5;
                }
            });
            draw(&loaded);
        }
        ramie::par(&bodies).map_reduce(f32::MIN, |body| body.height, f32::max)
    });
    println!("after 60 frames the highest body is at {highest:.2} m");
    println!("{:#?}", system.stats());
    Ok(())
}

/// Stands in for decoding a picture.
fn load_texture(frame: u32) {
    std::hint::black_box(
        (0..50_000_u64).fold(u64::from(frame), |sum, i| sum.wrapping_mul(31).wrapping_add(i)),
    );
}

/// Waits somewhere down the call stack: the fiber suspends, and its worker goes on with other jobs.
fn draw(loaded: &Counter) {
    loaded.wait();
}
