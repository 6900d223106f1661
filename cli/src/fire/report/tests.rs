use std::time::Duration;

use super::*;
use crate::fire::Work;

fn plan() -> Plan {
    let work = "1,1,1,1,1,1".parse::<Work>().expect("these are six numbers");
    Plan { workers: 2, seconds: 1, work }
}

fn played(checksum: u64) -> Part {
    let frames_ns = (1..=100).map(|frame| frame * 200_000).collect();
    let elapsed = Duration::from_secs(2);
    let outcome =
        Outcome::Played(Played { frames_ns, missed: 3, assets: 50, elapsed, turns: None, checksum });
    Part { outcome, given: vec!["everything".into()], trace: String::new() }
}

fn hung(frame: Option<usize>) -> Part {
    Part { outcome: Outcome::Hung { frame }, given: Vec::new(), trace: String::new() }
}

#[test]
fn a_bar_is_as_long_as_its_share_and_never_invisible() {
    assert_eq!(bar(0, 10), "");
    assert_eq!(bar(1, 1_000_000), "▏ 1");
    assert_eq!(bar(10, 10).chars().filter(|c| *c == '█').count(), BAR);
    assert!((0..=1000).all(|count| bar(count, 1000).chars().count() < COLUMN));
}

#[test]
fn frames_are_counted_once_and_on_the_right_side_of_the_deadline() {
    let counts = classes(&[0, 1_999_999, 2_000_000, 16_600_000, 16_700_000, 99_000_000, 100_000_000]);
    assert_eq!(counts.iter().sum::<usize>(), 7);
    assert_eq!((counts[0], counts[1], counts[11], counts[12], counts[17]), (2, 1, 1, 1, 1));
}

#[test]
fn percentiles_are_of_the_frames() {
    let frames: Vec<u64> = (1..=100).rev().collect();
    assert_eq!([50, 99, 100].map(|percent| percentile(&frames, percent)), [50, 99, 100]);
    assert_eq!(percentile(&[], 50), 0);
}

#[test]
fn a_report_fits_and_tells_what_hung() {
    let columns = [
        Column::new("ramie", played(7)),
        Column::again("rayon *", played(7), Outcome::Hung { frame: Some(4) }),
        Column::new("tokio", hung(None)),
    ];
    let text = all(&plan(), &columns).expect("the checksums are the same");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    for part in ["p50 ms", "10.00", "3 of 100", "hung in frame 5", "tokio hung and its process", "16.67 ms"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
}

#[test]
fn different_results_are_an_error() {
    let columns = [Column::new("ramie", played(7)), Column::new("rayon", played(8))];
    all(&plan(), &columns).expect_err("the checksums differ");
    all(&plan(), &[Column::new("ramie", hung(Some(1)))]).expect_err("nothing was played");
}
