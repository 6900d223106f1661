use super::command;

#[test]
fn the_command_is_what_to_type_without_paths() {
    let arguments = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<Vec<_>>();
    assert_eq!(command(&[], false), "cargo run --release --manifest-path bench/Cargo.toml");
    let full = command(&arguments(&["fib", "--json", "x/y.json", "--quick", "--json=z"]), false);
    assert_eq!(full, "cargo run --release --manifest-path bench/Cargo.toml -- fib --quick");
    let sources = command(&arguments(&["--source", "marl=/x/y", "--source=enkits=z", "fib"]), true);
    assert!(sources.starts_with("RAMIE_BENCH_SOURCES=DIR cargo run"), "{sources}");
    assert!(sources.ends_with("-- --source marl=DIR --source enkits=DIR fib"), "{sources}");
}
