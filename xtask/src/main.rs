//! `cargo xtask`: what is too long for the test suite.
fn main() {}
