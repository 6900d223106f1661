use super::*;

#[test]
fn text_is_wrapped_at_spaces_and_escaped() {
    let lines = wrapped("one two three four", 9.0 * 10.0 * CHARACTER_WIDTH, 10.0);
    assert_eq!(lines, ["one two", "three", "four"]);
    assert_eq!(wrapped("", 10.0, 10.0), [""; 0]);
    let mut svg = Svg::new(10.0, 10.0);
    svg.text([1.0, 2.0], "a < b & c", Font::new(9.0));
    assert!(svg.finish().contains(">a &lt; b &amp; c</text>"));
}
