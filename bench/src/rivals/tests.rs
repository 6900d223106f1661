use super::*;
use crate::workloads;

#[test]
fn versions_come_from_the_lockfile() {
    let lockfile =
        "[[package]]\nname = \"a-b\"\nversion = \"9.9\"\n\n[[package]]\nname = \"a\"\nversion = \"1.2\"\n";
    assert_eq!(locked_version(lockfile, "a"), Some("1.2"));
    assert_eq!(locked_version(lockfile, "b"), None);
    for rival in ALL {
        assert_eq!(rival.version().is_some(), rival.package.is_some(), "{}", rival.name);
    }
}

#[test]
fn names_are_unique_and_every_workload_has_a_baseline() {
    for (index, rival) in ALL.iter().enumerate() {
        assert!(ALL[..index].iter().all(|other| other.name != rival.name), "{}", rival.name);
    }
    for workload in workloads::ALL {
        assert!(baseline(workload, ALL).is_some(), "{}", workload.name);
    }
}
