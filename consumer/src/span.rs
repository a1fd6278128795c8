//! The span of one partition's work: each log line in it bears the topic and the partition.

use tracing::Span;

/// At the level error, so that it is there for every line that is written. It costs too much
/// for each batch of the tail, few of which write a line.
pub(crate) fn of_partition(topic: &str, partition: impl Into<i64>) -> Span {
    tracing::error_span!("partition", topic, partition = partition.into())
}

#[cfg(test)]
mod tests {
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata, Subscriber};

    use super::*;

    /// Takes errors alone.
    struct Errors;

    impl Subscriber for Errors {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() == Level::ERROR
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, _: &Event<'_>) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn a_partition_s_lines_bear_it_though_only_errors_are_logged() {
        let span = tracing::subscriber::with_default(Errors, || of_partition("orders", 3_u32));
        let fields: Vec<_> =
            span.metadata().expect("enabled").fields().iter().map(|field| field.name()).collect();
        assert_eq!(fields, ["topic", "partition"]);
    }
}
