//! A program that is built with `panic = "abort"` runs, and a panic in a job ends it with its message.

mod common;

use std::path::Path;
use std::process::Command;

#[test]
fn a_program_with_panic_abort_builds_and_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = root.join("tests/abort-check/Cargo.toml");
    if !manifest.exists() {
        eprintln!("SKIPPED: {} is not part of the package", manifest.display());
        return;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let Some(target) = Path::new(env!("CARGO_TARGET_TMPDIR")).parent() else {
        unreachable!("it has a parent")
    };
    let target = target.join("abort-check");
    // The lockfile of the workspace, so that nothing has to be looked up or downloaded anew.
    let lock = root.join("Cargo.lock");
    let copy = manifest.with_file_name("Cargo.lock");
    if lock.exists() {
        std::fs::copy(&lock, &copy).expect("the lockfile can be copied");
    }
    let build = Command::new(&cargo)
        .args(["build", "--quiet", "--offline", "--manifest-path"])
        .arg(&manifest)
        .arg("--target-dir")
        .arg(&target)
        .output();
    let _ = std::fs::remove_file(&copy);
    let build = match build {
        Ok(build) => build,
        Err(error) => {
            eprintln!("SKIPPED: {cargo:?} cannot be started: {error}");
            return;
        }
    };
    assert!(build.status.success(), "{}", String::from_utf8_lossy(&build.stderr));
    let program = target.join("debug/abort-check");
    let runs = Command::new(&program).output().expect("it was built");
    assert!(runs.status.success(), "{runs:?}");
    assert_eq!(String::from_utf8_lossy(&runs.stdout).trim(), "sum 4961");
    let panics = Command::new(&program).arg("panic").output().expect("it was built");
    assert!(!panics.status.success(), "the panic ends the process");
    assert_eq!(panics.status.code(), None, "by a signal: {panics:?}");
    let errors = String::from_utf8_lossy(&panics.stderr);
    assert!(errors.contains("as planned"), "{errors}");
    assert!(!String::from_utf8_lossy(&panics.stdout).contains("not reached"));
}
