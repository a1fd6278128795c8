#![no_main]

// Each target uses one of the checks.
#[allow(dead_code, reason = "other targets use the rest")]
#[path = "../checks_request.rs"]
mod checks_request;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks_request::parameters(input));
