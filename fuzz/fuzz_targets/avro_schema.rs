#![no_main]

// Each target uses one of the checks.
#[allow(dead_code, reason = "other targets use the rest")]
#[path = "../checks_avro.rs"]
mod checks_avro;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks_avro::avro_schema(input));
