use std::{
    sync::{Mutex, mpsc},
    thread,
};

use super::*;

/// Runs urgent jobs on a thread of their own, and pieces on another.
struct Threads {
    pieces: Mutex<mpsc::Sender<Piece<Threads>>>,
    probes: Mutex<mpsc::Sender<Probe>>,
}

impl Threads {
    fn start() -> Threads {
        let (pieces, next_piece) = mpsc::channel::<Piece<Threads>>();
        let (probes, next_probe) = mpsc::channel::<Probe>();
        thread::spawn(move || next_piece.iter().for_each(Piece::run));
        thread::spawn(move || next_probe.iter().for_each(Probe::run));
        Threads { pieces: Mutex::new(pieces), probes: Mutex::new(probes) }
    }
}

impl System for Threads {
    fn submit_piece(&self, piece: Piece<Threads>) {
        self.pieces.lock().unwrap().send(piece).unwrap();
    }

    fn submit_probe(&self, probe: Probe) {
        self.probes.lock().unwrap().send(probe).unwrap();
    }
}

#[test]
fn both_cases_yield_every_metric_once_and_no_probe_ends_before_it_starts() {
    let params = Params { workers: 1, quick: true, soft_limit: Duration::from_secs(1) };
    let measured = measure(&params, Threads::start());
    let names: Vec<_> = measured.values.iter().map(|value| value.metric.as_str()).collect();
    let expected: Vec<_> = WORKLOAD.metrics.iter().map(|metric| metric.name).collect();
    assert_eq!(names, expected);
    let value = |name: &str| measured.values.iter().find(|value| value.metric == name).unwrap().value;
    for case in ["outside", "inside"] {
        for (suffix, _) in PERCENTILES {
            let (start, end) =
                (value(&format!("{case} start {suffix}")), value(&format!("{case} end {suffix}")));
            assert!(start < end, "{case} {suffix}: started after {start} us, ended after {end} us");
        }
    }
}

#[test]
fn probes_are_due_a_millisecond_apart_more_or_less() {
    let due_ns = schedule(5_000, 1_000);
    let gaps: Vec<u64> = due_ns.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| (GAP_NS[0]..GAP_NS[1]).contains(gap)));
    let mean = gaps.iter().sum::<u64>() / gaps.len() as u64;
    assert!((950_000..1_050_000).contains(&mean), "{mean} ns");
    assert!(due_ns[0] >= 5_000 + GAP_NS[0]);
}
