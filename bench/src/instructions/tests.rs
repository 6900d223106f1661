use super::{find_collected, is_same, paths};

#[test]
fn the_count_is_found_in_what_callgrind_says() {
    let said =
        "==1== Callgrind, a call-graph\n==1== \n==1== Events    : Ir\n==1== Collected : 123456\n==1== \n";
    assert_eq!(find_collected(said), Some(123_456));
    assert_eq!(find_collected("valgrind: no such program"), None);
}

#[test]
fn half_a_per_cent_is_the_same_and_more_is_not() {
    assert!(is_same(200.0, 201.0) && is_same(200.0, 199.0));
    assert!(!is_same(200.0, 201.1) && !is_same(200.0, 198.9));
}

#[test]
fn paths_have_names_of_their_own_and_do_something() {
    for (index, path) in paths::ALL.iter().enumerate() {
        assert!(path.operations > 0);
        assert!(paths::ALL[..index].iter().all(|other| other.name != path.name), "{}", path.name);
        paths::run(path.name, 1).expect("it runs");
    }
    assert!(paths::run("nonsense", 1).is_err());
}
