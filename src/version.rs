//! What `--version` says, and what it says with `--verbose`: for reports of what went wrong.

use tailrace_bridge::EventId;

/// The version and the commit.
pub(crate) const SHORT: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("GIT_COMMIT"), ")");

/// [`SHORT`], what it was built by and for, the version of the library that speaks to Kafka, and that of event ids, which two
/// replicas must have in common for streams to go on from one at the other.
pub(crate) fn verbose() -> String {
    format!(
        "{SHORT}\nbuilt by     {}\ntarget       {} ({})\nlibrdkafka   {}\nevent ids    {}, sealed {}",
        env!("BUILT_BY"),
        env!("BUILD_TARGET"),
        env!("BUILD_PROFILE"),
        tailrace_consumer::librdkafka_version(),
        EventId::VERSION,
        EventId::SEALED_VERSION,
    )
}

/// Whether the whole is asked for. `--verbose` goes with `--version` alone.
pub(crate) fn is_verbose(args: &[String]) -> bool {
    let has = |names: &[&str]| args.iter().any(|arg| names.contains(&arg.as_str()));
    has(&["--verbose"]) && has(&["--version", "-V"])
}
