use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::super::snapshot::{Rates, Snapshot};
use super::super::waits::Wait;
use super::*;

fn drawn(view: &View, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("the backend does not fail");
    terminal.draw(|frame| draw(frame, view)).expect("the backend does not fail");
    let buffer = terminal.backend().buffer();
    let cells: Vec<&str> = buffer.content().iter().map(|cell| cell.symbol()).collect();
    cells.chunks(usize::from(width.max(1))).map(|row| row.concat().trim_end().to_owned()).collect()
}

fn view(worker_count: usize) -> View {
    let worker = |index: usize| Worker {
        name: index.to_string(),
        busy: 1.0 - index as f64 / worker_count as f64,
        queued: index * 1000,
    };
    let wait = |count, job, waits_for: &str, place: &str, age_ms| Wait {
        count,
        oldest: Duration::from_millis(age_ms),
        job,
        waits_for: waits_for.to_owned(),
        place: place.to_owned(),
    };
    View {
        frames: 120,
        frames_total: 240,
        frames_per_second: 48.7,
        elapsed: Duration::from_millis(2460),
        now: Snapshot {
            workers: (0..worker_count).map(worker).collect(),
            busy: 0.5,
            unstarted: 3,
            fibers: 18,
            fibers_max: 21,
            stacks: 22,
            stack_used_bytes: 122_000,
            frame_bytes: 60 << 20,
        },
        rates: Rates {
            jobs: 1234,
            steals: 456,
            steals_by_distance: vec![
                ("same core", 400),
                ("same cache", 56),
                ("same node", 0),
                ("far", 0),
                ("not pinned", 0),
            ],
            suspensions: 99_999,
            suspensions_by_reason: vec![("counters", 99_000), ("cancellations", 999)],
            wakes: 1_234_567,
            parks: 12_345_678,
        },
        minute: (0..60).map(|second| second * 100 / 59).collect(),
        waits: vec![
            wait(
                1,
                "frame",
                "counter 4294967295 to reach its target, or a time limit",
                "pipeline.rs:1234",
                300,
            ),
            wait(10_000, "", "an event", "", 61_234),
        ],
        ..View::default()
    }
}

const VIEW: &str = "
─ ramie demo ───────────────────────────────────────────────────────────────────
 frame  120 of 240  ██████████████░░░░░░░░░░░░░░  50 %    49 frames/s     2.5 s
─ workers: how busy, and how much is queued ────────────────────────────────────
      0 ██████████████████████████████████████████████████ 100 %        0 queued
      1 █████████████████████████████████████████▋░░░░░░░░  83 %    1,000 queued
      2 █████████████████████████████████▍░░░░░░░░░░░░░░░░  67 %    2,000 queued
      3 █████████████████████████░░░░░░░░░░░░░░░░░░░░░░░░░  50 %    3,000 queued
      4 ████████████████▋░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░  33 %    4,000 queued
      5 ████████▍░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░  17 %    5,000 queued
─ all workers in the last minute: how busy ─────────────────────────────────────
                                              ▁▁▁▁▂▂▂▃▃▃▃▄▄▄▄▅▅▅▆▆▆▆▇▇▇█
   60 s ago      ▁▁▁▂▂▂▂▃▃▃▄▄▄▄▅▅▅▅▆▆▆▇▇▇▇██████████████████████████████ 100 %
─ per second ──────── steals from ─────── suspended for ───── now ──────────────
 jobs         1,234  same core      400  counters    99,000  fibers           18
 steals         456  same cache      56  cancellations  999  at most          21
 suspended   99,999  same node        0                      jobs not begun    3
 wakes      1,234 k  far              0                      stacks           22
 parks         12 M  not pinned       0                      deepest     120 KiB
                                                             frame bytes  60 MiB
─ fibers that wait, and how long the oldest does ───────────────────────────────
      1  frame      counter 4294967295 to reach it… at pipeline.rs:1234    0.3 s
 10,000  unnamed    an event                                              61.2 s

 q: end the demo early   space: pause the view
";

#[test]
fn everything_fits_on_80_by_24() {
    let lines = drawn(&view(6), 80, 24);
    assert_eq!(lines.join("\n"), VIEW.trim_matches('\n'));
}

#[test]
fn many_workers_stand_in_columns_and_the_rest_is_counted() {
    let lines = drawn(&view(64), 120, 24);
    assert!(lines[2].contains("18 of 64 workers"), "{}", lines[2]);
    assert!(lines[3].contains("100 %") && lines[3].contains("12,000 queued"), "{}", lines[3]);
    assert!(lines.iter().any(|line| line.contains("an event")), "{}", lines.join("\n"));
}

#[test]
fn waits_that_have_no_room_are_counted() {
    let waits = (0..10).map(|count| Wait { count, waits_for: "a mutex".to_owned(), ..Wait::default() });
    let lines = drawn(&View { waits: waits.collect(), ..view(6) }, 80, 24);
    assert!(lines[22].contains("and 8 more places"), "{}", lines.join("\n"));
}

#[test]
fn a_view_that_is_paused_or_ends_says_so() {
    let last = |view: &View| drawn(view, 80, 24).pop().unwrap_or_default();
    assert!(last(&View { paused: true, ..view(2) }).contains("the demo is not"));
    assert!(last(&View { ends: true, ..view(2) }).contains("The demo ends"));
}

#[test]
fn no_size_is_too_small() {
    for view in [View::default(), view(1), view(3), view(256)] {
        for width in [0, 1, 2, 7, 20, 37, 80, 300] {
            for height in [0, 1, 2, 3, 5, 8, 24, 100] {
                let lines = drawn(&view, width, height);
                assert!(lines.iter().all(|line| line.chars().count() <= 120), "{width} x {height}");
            }
        }
    }
}

#[test]
fn numbers_take_seven_columns_at_most() {
    let texts = [0, 999, 1000, 99_999, 100_000, 9_999_999, 10_000_000, 9_999_999_999].map(count);
    assert_eq!(texts, ["0", "999", "1,000", "99,999", "100 k", "9,999 k", "10 M", "9,999 M"]);
    assert_eq!([0, 1, 1 << 20, 60 << 20].map(bytes), ["0 KiB", "1 KiB", "1.0 MiB", "60 MiB"]);
}
