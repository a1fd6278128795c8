#![no_main]

// Each target uses one of the checks.
#[allow(dead_code, reason = "other targets use the rest")]
#[path = "../checks_protobuf.rs"]
mod checks;

use std::sync::Once;

static BEGIN: Once = Once::new();

// Reading a schema catches panics of the crates that it uses. A fuzzer's own hook would end the process before they are caught; those that nobody
// catches still end it.
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    BEGIN.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    checks::protobuf_schema(input);
});
