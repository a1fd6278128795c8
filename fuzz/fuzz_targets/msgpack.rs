#![no_main]

// Each target uses one of the checks.
#[allow(dead_code, reason = "other targets use the rest")]
#[path = "../checks_protobuf.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::msgpack(input));
