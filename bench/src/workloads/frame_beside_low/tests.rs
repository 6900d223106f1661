use super::*;

#[test]
fn the_low_share_is_of_what_the_frames_left() {
    let frames = 100;
    // 400 ms of one worker, of which the frames' jobs take 150 ms and 500 pieces 125 ms.
    let block = Block { wall: PERIOD * frames, pieces: 500, frames_ms: vec![1.5; frames as usize] };
    let share = block.low_share(1, SPLIT_PIECE);
    assert!((share - 50.0).abs() < 0.01, "{share} %");
}

#[test]
fn a_loop_ends_with_its_block_and_every_metric_has_a_value() {
    let params = Params { workers: 1, quick: true, soft_limit: Duration::from_secs(1) };
    let start = |background: &'static Background| {
        let one = background.new_loop();
        std::thread::spawn(move || one.run(std::thread::yield_now));
    };
    let measured = measure(&params, SPLIT_PIECE, |job| (0..3).for_each(|_| job.run()), start);
    let names: Vec<_> = measured.values.iter().map(|value| value.metric.as_str()).collect();
    let expected: Vec<_> = WORKLOAD.metrics.iter().map(|metric| metric.name).collect();
    assert_eq!(names, expected);
    assert!(measured.values.iter().all(|value| value.value > 0.0), "{measured:?}");
}
