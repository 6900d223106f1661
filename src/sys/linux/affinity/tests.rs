//! Masks of any size, and what the kernel says of this thread.

use super::{WORDS_FIRST, WORDS_MAX, cpus_of, get, mask_of, pin_this_thread, read_mask, usable_cpus};
use std::io;

/// A kernel that insists on `words` words, and in whose mask these CPUs are set.
fn kernel(words: usize, cpus: &[u32]) -> impl FnMut(&mut [u64]) -> io::Result<()> {
    move |mask| {
        if mask.len() < words {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        assert!(mask.iter().all(|word| *word == 0));
        cpus.iter().for_each(|cpu| mask[*cpu as usize / 64] |= 1 << (cpu % 64));
        Ok(())
    }
}

#[test]
fn a_mask_is_read_in_the_size_that_the_kernel_wants() {
    let table: [(usize, &[u32]); 6] = [
        (1, &[0, 1]),
        (16, &[0, 63, 64, 1023]),
        (17, &[5, 1024]),
        (128, &[0, 1023, 1024, 4095, 8191]),
        (WORDS_MAX - 1, &[1_048_511]),
        (WORDS_MAX, &[0, 1_048_575]),
    ];
    for (words, cpus) in table {
        let mask = read_mask(WORDS_FIRST, kernel(words, cpus)).expect("it is long enough in the end");
        assert_eq!(cpus_of(&mask), cpus);
        assert!(mask.len() < 2 * words.max(WORDS_FIRST));
    }
}

#[test]
fn reading_ends_when_no_size_will_do_or_the_call_is_refused() {
    let mut calls = 0;
    let error = read_mask(0, |_| {
        calls += 1;
        Err(io::Error::from_raw_os_error(libc::EINVAL))
    });
    assert_eq!(error.expect_err("no size will do").raw_os_error(), Some(libc::EINVAL));
    assert_eq!(calls, 16, "0, 1, 2, 4 and so on up to 16384 words");
    let error = read_mask(1, |_| Err(io::Error::from_raw_os_error(libc::EPERM)));
    assert_eq!(error.expect_err("it is refused").raw_os_error(), Some(libc::EPERM));
}

#[test]
fn a_mask_of_one_cpu_holds_that_cpu() {
    for cpu in [0, 1, 63, 64, 1023, 1024, 5000, 1_048_575] {
        assert_eq!(cpus_of(&mask_of(cpu)), [cpu]);
    }
    assert!(cpus_of(&[]).is_empty());
}

/// The real kernel refuses a mask without words too.
#[test]
fn the_kernel_is_asked_again_when_a_mask_is_too_short() {
    assert_eq!(get(&mut []).expect_err("too short").raw_os_error(), Some(libc::EINVAL));
    let mask = read_mask(0, get).expect("long enough in the end");
    assert_eq!(cpus_of(&mask), usable_cpus().expect("it can be read"));
}

#[test]
fn a_thread_pins_itself_and_nobody_else() {
    let before = usable_cpus().expect("it can be read");
    assert!(!before.is_empty() && before.is_sorted());
    std::thread::scope(|threads| {
        for &cpu in &before {
            threads.spawn(move || {
                pin_this_thread(cpu).expect("it may run there");
                assert_eq!(usable_cpus().expect("it can be read"), [cpu]);
            });
        }
    });
    assert_eq!(usable_cpus().expect("it can be read"), before);
    // No machine has this CPU.
    let error = pin_this_thread(1_048_575).expect_err("it may not run there");
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    assert_eq!(usable_cpus().expect("it can be read"), before);
}
