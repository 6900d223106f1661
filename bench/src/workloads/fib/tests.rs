use super::fibonacci;

#[test]
fn fibonacci_numbers_are_the_known_ones() {
    assert_eq!(fibonacci(0), (0, 1));
    assert_eq!(fibonacci(5), (5, 8));
    assert_eq!(fibonacci(32), (2_178_309, 3_524_578));
}
