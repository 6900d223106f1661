//! `ramie topo` as a user runs it, on recorded machines.

#[path = "../../tests/common/trees.rs"]
#[allow(dead_code, reason = "shared with the library's tests")]
mod trees;

use std::process::{Command, Output, Stdio};
use trees::Folder;

fn topo(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ramie"))
        .arg("topo")
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

#[track_caller]
fn text(args: &[&str]) -> String {
    let output = topo(args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it prints text")
}

fn root(folder: &Folder) -> &str {
    folder.path().to_str().expect("the path is text")
}

#[test]
fn two_ccds_are_drawn() {
    let folder = trees::two_ccds().write();
    let expected = "\
32 CPUs, 32 of them usable, 16 cores, 2 last-level caches, 1 node, 1 package

package 0
  node 0
    L3, 32 MiB
      cores  [0 16] [1 17] [2 18] [3 19] [4 20] [5 21] [6 22] [7 23]
    L3, 32 MiB
      cores  [8 24] [9 25] [10 26] [11 27] [12 28] [13 29] [14 30] [15 31]

where each pinning puts 20 workers, worker 0 first:
  Linear           0-19
  AvoidSmt         0-19
  CacheDomain      0-7 16-23; refused, for there is no CPU for 4 of them
  TieredSpillover  tier 1: 0-7; tier 2: 8-15; tier 3: 16-19
";
    assert_eq!(text(&["--root", root(&folder), "--workers", "20"]), expected);
}

#[test]
fn hybrid_machines_sockets_and_containers_are_told_apart() {
    let hybrid = text(&["--root", root(&trees::hybrid().write())]);
    assert!(hybrid.contains("2 classes of cores") && hybrid.contains("fast cores  [0 1] [2 3]"), "{hybrid}");
    assert!(hybrid.contains("slower cores (560 of 1024)  [16] [17]"), "{hybrid}");
    let sockets = text(&["--root", root(&trees::dual_socket().write())]);
    assert!(sockets.contains("package 1\n  node 1, distance 21 to node 0"), "{sockets}");
    assert!(sockets.lines().all(|line| line.len() <= 110), "{sockets}");
    let container = text(&["--root", root(&trees::container().write())]);
    assert!(container.contains("[(0)] [(1)] [(2)] [3] [(4)] [5] [(6)] [7]"), "{container}");
    assert!(container.contains("where each pinning puts 3 workers"), "{container}");
}

#[test]
fn json_says_the_same() {
    let folder = trees::eight_by_pairs().write();
    let value: serde_json::Value =
        serde_json::from_str(&text(&["--json", "--workers", "3", "--root", root(&folder)]))
            .expect("it is JSON");
    assert_eq!(value["source"], "recorded");
    assert_eq!(value["cores"][1]["cpus"], serde_json::json!([2, 3]));
    assert_eq!(value["placements"]["AvoidSmt"], serde_json::json!([0, 2, 4]));
    assert_eq!(value["default_workers"], 16);
    assert_eq!(value["nodes"][0]["distances"], serde_json::json!([10]));
}

#[cfg(target_os = "linux")]
#[test]
fn this_machine_is_recorded_and_drawn_the_same() {
    let folder = Folder::new();
    let recorded = text(&["--record", root(&folder)]);
    assert!(recorded.contains("--root"), "{recorded}");
    assert_eq!(text(&["--root", root(&folder)]), text(&[]));
}

#[test]
fn mistakes_take_one_line_and_exit_code_2() {
    for (args, words) in [
        (&["--root", "/nonexistent"][..], "/nonexistent"),
        (&["--workers", "0"], "--workers"),
        (&["--record", "/x", "--json"], "--record"),
        (&["--record", "/proc/nothing"], "/proc/nothing"),
        (&["surplus"], "ramie topo --help"),
    ] {
        let output = topo(args);
        let error = String::from_utf8(output.stderr).expect("it prints text");
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        assert!(
            error.starts_with("error: ") && error.lines().count() == 1 && error.contains(words),
            "{args:?}: {error}"
        );
        assert!(output.stdout.is_empty());
    }
}
