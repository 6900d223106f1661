use super::*;

#[test]
fn samples_are_as_many_as_there_is_time_for() {
    let params = Params { workers: 1, quick: false, soft_limit: Duration::from_millis(100) };
    let each = Duration::from_millis(5);
    assert_eq!(params.samples(300, each, 3), 20);
    assert_eq!(params.samples(300, each, 50), 50, "the least");
    assert_eq!(params.samples(10, each, 3), 10, "no more than were asked for");
    assert_eq!(params.share(4).samples(300, each, 3), 5);
    assert_eq!(Params { quick: true, ..params }.samples(30, each, 3), 10);
}
