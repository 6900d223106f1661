//! Spans of `tracing` that are held across waits: with the feature they follow their fibers; without it they are everybody's on the thread, as the docs say.

mod common;

#[cfg(feature = "tracing")]
use common::WORKERS;
use common::watch;
use ramie::Counter;
use ramie::sync::Event;
#[cfg(feature = "tracing")]
use ramie::sync::Mutex as FiberMutex;
use std::sync::{Mutex, Once};
#[cfg(feature = "tracing")]
use tracing::info;
use tracing::{Span, info_span, span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

/// What the subscriber has seen: each event's number, and the numbers of the spans that it was in, the outermost first.
static SEEN: Mutex<Vec<(u64, Vec<u64>)>> = Mutex::new(Vec::new());

struct Recorder;

/// The field `n` of a span or an event.
#[derive(Clone, Copy, Default)]
struct Number(u64);

impl tracing::field::Visit for Number {
    fn record_u64(&mut self, _: &tracing::field::Field, value: u64) {
        self.0 = value;
    }
    fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn std::fmt::Debug) {}
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let mut number = Number::default();
        attributes.record(&mut number);
        context.span(id).expect("just made").extensions_mut().insert(number);
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let mut number = Number::default();
        event.record(&mut number);
        let scope = context.event_scope(event);
        let spans = scope.into_iter().flat_map(|scope| scope.from_root());
        let spans =
            spans.map(|span| span.extensions().get::<Number>().expect("every span has one").0).collect();
        SEEN.lock().unwrap().push((number.0, spans));
    }
}

fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let subscriber = tracing_subscriber::registry().with(Recorder);
        tracing::subscriber::set_global_default(subscriber).expect("the only one");
    });
}

#[cfg(feature = "tracing")]
#[test]
fn spans_follow_their_fibers() {
    let _watch = watch("spans", 120);
    install();
    for workers in WORKERS {
        let system = common::system(workers);
        let (mutex, base) = (FiberMutex::new(()), workers as u64 * 1_000_000);
        system.scope(|s| {
            for job in 1..50_u64 {
                let (mutex, n) = (&mutex, base + job * 100);
                s.detach(move || {
                    assert!(Span::current().id().is_none(), "a foreign span");
                    let outer = info_span!("outer", n);
                    let entered = outer.enter();
                    for round in 1..4 {
                        let inner = info_span!("inner", n = n + round).entered();
                        let guard = mutex.lock();
                        ramie::yield_now();
                        drop(guard);
                        info!(n = n + 10 + round);
                        assert_eq!(Span::current().id(), inner.id());
                        // Entered twice.
                        let again = outer.enter();
                        ramie::sleep(std::time::Duration::from_micros(job));
                        drop(again);
                        let child = ramie::spawn(|| Span::current().id().is_none());
                        assert!(
                            child.join().unwrap() || workers == 1,
                            "an inlined child is in its caller's spans"
                        );
                        drop(inner);
                        assert_eq!(Span::current().id(), outer.id());
                        info!(n = n + 20 + round);
                    }
                    drop(entered);
                    assert!(Span::current().id().is_none());
                });
            }
        });
        let seen = SEEN.lock().unwrap();
        let mine: Vec<_> = seen.iter().filter(|(n, _)| *n / 1_000_000 == workers as u64).collect();
        assert_eq!(mine.len(), 49 * 6);
        for (n, spans) in mine {
            let (outer, kind, round) = (n / 100 * 100, n % 100 / 10, n % 10);
            let expected = if kind == 1 { vec![outer, outer + round] } else { vec![outer] };
            assert_eq!(*spans, expected, "event {n}");
        }
    }
}

/// What a guard of a span does that is held across a wait, and what a job sees that runs on the same worker meanwhile.
#[test]
fn a_span_across_a_wait_is_seen_by_others_only_without_the_feature() {
    let _watch = watch("foreign spans", 60);
    if common::migrating() {
        return;
    }
    install();
    let system = common::system(1);
    let (begun, go_on) = (Event::auto(), Counter::new(1));
    let foreign = system.scope(|s| {
        s.detach(|| {
            let _entered = info_span!("held", n = 1_u64).entered();
            begun.set();
            go_on.wait();
        });
        let beside = s.spawn(|| {
            begun.wait();
            let foreign = Span::current().id().is_some();
            go_on.signal();
            foreign
        });
        beside.join().unwrap()
    });
    assert_eq!(foreign, cfg!(not(feature = "tracing")), "docs/waiting.md says so");
}
