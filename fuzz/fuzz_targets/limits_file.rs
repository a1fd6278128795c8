#![no_main]

#[path = "../web_checks.rs"]
mod web_checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| web_checks::limits_file(input));
