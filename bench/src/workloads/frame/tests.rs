use std::time::Duration;

use super::*;

#[test]
fn the_ideal_is_the_serial_frame_before_and_after_the_block_divided_by_the_workers() {
    let mut frames = Frames::new(&Params { workers: 2, quick: true, soft_limit: Duration::ZERO });
    frames.serial_ns = vec![180.0, 199.0, 1_000.0, 201.0, 220.0, 190.0];
    frames.frames_ns = [vec![1e9; WARM_UP_FRAMES], vec![101.0, 110.0]].concat();
    frames.divide();
    assert_eq!(frames.ratios, [1.01, 1.1], "those that warm up do not count");
    assert_eq!(frames.serial_ns, [201.0, 220.0, 190.0], "what came after is what comes before the next block");
    assert!(frames.frames_ns.is_empty());
}

#[test]
fn slow_frames_are_few() {
    let mut frames = 0;
    let params = Params { workers: 1, quick: false, soft_limit: Duration::ZERO };
    let measured = measure(&params, |_| frames += 1);
    assert_eq!(frames, FRAMES_LEAST + WARM_UP_FRAMES);
    let names: Vec<_> = measured.values.iter().map(|value| value.metric.as_str()).collect();
    assert_eq!(names, ["p50", "p99"]);
}
