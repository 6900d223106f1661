use ramie::{Counter, JobSystem};

use super::*;

#[test]
fn those_in_the_same_place_share_a_line_and_the_rare_come_first() {
    let system = JobSystem::builder().workers(2).build().expect("two threads are to be had");
    let opened = Counter::new(1);
    let groups = system.run(|| {
        ramie::scope(|s| {
            for _ in 0..3 {
                s.job().name("many").detach(|| opened.wait());
            }
            s.job().name("one").detach(|| opened.wait());
            // This job does not wait itself: it looks again and again until the others do.
            let groups = loop {
                let groups = of(&system.dump());
                if groups.iter().map(|group| group.count).sum::<usize>() == 4 {
                    break groups;
                }
                ramie::yield_now();
            };
            opened.signal();
            groups
        })
    });
    let counts: Vec<_> = groups.iter().map(|group| (group.count, group.job)).collect();
    assert_eq!(counts, [(1, "one"), (3, "many")]);
    for group in &groups {
        assert!(group.waits_for.starts_with("counter "), "{group:?}");
        assert!(group.place.starts_with("tests.rs:"), "{group:?}");
    }
}
