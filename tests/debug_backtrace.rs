//! A panic with `RUST_BACKTRACE=full` inside a job fits the default stack, also without optimisation: the CI runs this
//! file in the dev profile too.

mod common;

use common::{child, is_child, watch};

/// Some frames deep, as a real panic is.
#[inline(never)]
fn descend(depth: u32) -> u32 {
    assert!(depth > 0, "the bottom is reached");
    std::hint::black_box(descend(depth - 1)) + 1
}

#[test]
fn a_panic_with_a_full_backtrace_fits_a_fiber() {
    let name = "a_panic_with_a_full_backtrace_fits_a_fiber";
    if !is_child(name) {
        for style in ["full", "1", "0"] {
            let output = child(name, &[("RUST_BACKTRACE", style), ("RUST_LIB_BACKTRACE", style)]);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{style}: {:?}\n{errors}", output.status);
            assert!(errors.contains("the bottom is reached"), "{errors}");
            if style == "full" {
                // From the panic through the job to the root of the worker's thread.
                assert!(errors.contains("descend"), "{errors}");
                assert!(errors.contains("start_thread") || errors.contains("thread_start"), "{errors}");
            }
        }
        return;
    }
    let _watch = watch("backtrace", 60);
    let system = common::system(2);
    for _ in 0..3 {
        let error = system.spawn(|| descend(20)).join().expect_err("it panics");
        assert!(error.to_string().contains("the bottom is reached"), "{error}");
    }
    // Below other waits of the same fiber.
    let payload = common::panic_of(|| {
        system.run(|| ramie::scope(|s| drop(s.spawn(|| ramie::join(|| 1, || descend(20))))))
    });
    assert!(common::message(&*payload).contains("the bottom is reached"));
    let text = system.run(|| std::backtrace::Backtrace::force_capture().to_string());
    assert!(text.contains("debug_backtrace"), "{text}");
}
