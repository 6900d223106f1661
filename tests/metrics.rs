//! Statistics reach whoever has installed a recorder of the crate `metrics`, each with its labels and a description.
#![cfg(feature = "metrics")]

mod common;

use common::watch;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use ramie::Stats;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

type Values = Arc<Mutex<BTreeMap<String, f64>>>;

/// Keeps what it was told last.
#[derive(Default)]
struct Keeps {
    values: Values,
    described: Mutex<BTreeSet<String>>,
}

struct Kept(Values, String);

impl Kept {
    fn of(keeps: &Keeps, key: &Key) -> Arc<Self> {
        let labels: Vec<String> = key.labels().map(|l| format!("{}={}", l.key(), l.value())).collect();
        Arc::new(Self(keeps.values.clone(), format!("{}{{{}}}", key.name(), labels.join(","))))
    }

    fn set_to(&self, value: f64) {
        self.0.lock().unwrap().insert(self.1.clone(), value);
    }
}

impl CounterFn for Kept {
    fn increment(&self, _: u64) {
        unreachable!("counters are published as they stand")
    }

    fn absolute(&self, value: u64) {
        self.set_to(value as f64);
    }
}

impl GaugeFn for Kept {
    fn increment(&self, _: f64) {
        unreachable!("gauges are published as they stand")
    }

    fn decrement(&self, _: f64) {
        unreachable!("gauges are published as they stand")
    }

    fn set(&self, value: f64) {
        self.set_to(value);
    }
}

impl Recorder for Keeps {
    fn describe_counter(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        self.described.lock().unwrap().insert(key.as_str().into());
    }

    fn describe_gauge(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        self.described.lock().unwrap().insert(key.as_str().into());
    }

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Kept::of(self, key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Kept::of(self, key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn everything_is_published_and_described() {
    let _watch = watch("published", 30);
    let system = common::system(2);
    system.scope(|s| (0..100).for_each(|_| s.detach(|| (0..3).for_each(|_| ramie::yield_now()))));
    let stats = system.stats();
    let keeps = Keeps::default();
    metrics::with_local_recorder(&keeps, || {
        Stats::describe();
        stats.publish("game");
        // Without a change there is none.
        stats.publish("game");
    });
    let (values, described) = (keeps.values.lock().unwrap(), keeps.described.lock().unwrap());
    let value = |key: &str| *values.get(key).unwrap_or_else(|| panic!("no {key} in {values:#?}"));
    assert_eq!(value("ramie_jobs_total{system=game}"), 100.0);
    assert_eq!(value("ramie_suspensions_total{system=game,reason=yields}"), 300.0);
    assert_eq!(value("ramie_jobs_unstarted{system=game}"), 0.0);
    assert_eq!(value("ramie_fibers_max{system=game}"), stats.fibers_max as f64);
    assert_eq!(value("ramie_worker_busy_seconds{system=game,worker=1}"), stats.busy[1].as_secs_f64());
    assert_eq!(value("ramie_queue_depth{system=game,worker=0}"), 0.0);
    let steals = values.iter().filter(|(key, _)| key.starts_with("ramie_steals_total"));
    assert_eq!(steals.map(|(_, count)| count).sum::<f64>(), stats.steals as f64);
    let names: BTreeSet<String> =
        values.keys().map(|key| key[..key.find('{').expect("labels")].to_owned()).collect();
    assert_eq!(*described, names, "what is published is described, and nothing else");
}
