#![no_main]

// Each target uses one of the checks.
#[allow(dead_code, reason = "other targets use the rest")]
#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::sealed_id(input));
