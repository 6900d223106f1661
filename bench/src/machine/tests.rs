use super::civil_date;

#[test]
fn dates_are_those_of_the_calendar() {
    assert_eq!(civil_date(0), (1970, 1, 1));
    assert_eq!(civil_date(11_016), (2000, 2, 29));
    assert_eq!(civil_date(11_017), (2000, 3, 1));
    assert_eq!(civil_date(19_722), (2023, 12, 31));
    assert_eq!(civil_date(-1), (1969, 12, 31));
}
