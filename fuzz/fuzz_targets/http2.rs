#![no_main]

// Each target uses one of the checks.
#[allow(dead_code, reason = "other targets use the rest")]
#[path = "../checks_web.rs"]
mod checks_web;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks_web::http2(input));
