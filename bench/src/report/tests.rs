use super::command;

#[test]
fn the_command_is_what_to_type_without_paths() {
    let arguments = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<Vec<_>>();
    assert_eq!(command(&[]), "cargo run --release --manifest-path bench/Cargo.toml");
    let full = command(&arguments(&["fib", "--json", "x/y.json", "--quick", "--json=z"]));
    assert_eq!(full, "cargo run --release --manifest-path bench/Cargo.toml -- fib --quick");
}
