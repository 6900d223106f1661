use super::{CPU_MAX, CpuId, common, parse_ranges, ranges};

fn ids(numbers: &[u32]) -> Vec<CpuId> {
    numbers.iter().copied().map(CpuId).collect()
}

#[test]
fn lists_are_read_and_written() {
    for (text, numbers) in [
        ("", &[] as &[u32]),
        ("\n", &[]),
        ("0\n", &[0]),
        ("0-3,8\n", &[0, 1, 2, 3, 8]),
        ("5,7", &[5, 7]),
        ("1023-1025", &[1023, 1024, 1025]),
        ("65535", &[65_535]),
    ] {
        assert_eq!(parse_ranges(text), Some(ids(numbers)), "{text:?}");
        assert_eq!(ranges(&ids(numbers)), text.trim());
    }
}

#[test]
fn lists_in_any_order_ascend() {
    assert_eq!(parse_ranges("8,0-3,2-4"), Some(ids(&[0, 1, 2, 3, 4, 8])));
    assert_eq!(parse_ranges(" 1 , 0 "), Some(ids(&[0, 1])));
}

#[test]
fn what_is_no_list_is_refused() {
    for text in [
        "x",
        "1-",
        "-1",
        "3-1",
        "1,,2",
        "0-4294967295",
        "65536",
        "99999999999999999999",
        "1 2",
        "0-3:2/4",
        "\0",
    ] {
        assert_eq!(parse_ranges(text), None, "{text:?}");
    }
    assert_eq!(CPU_MAX, 65_535);
}

#[test]
fn common_cpus_are_in_both() {
    assert_eq!(common(&ids(&[0, 1, 5, 7]), &ids(&[1, 2, 7, 9])), ids(&[1, 7]));
    assert_eq!(common(&[], &ids(&[1])), []);
}
