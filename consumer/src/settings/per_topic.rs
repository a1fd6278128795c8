//! A setting that is the same for all topics, but for some of them.

use tailrace_bridge::split_topic;

/// The values of a setting: `VALUE`, or `TOPIC=VALUE` for one topic, comma-separated.
#[derive(Clone, Debug, Default)]
pub(crate) struct PerTopic<T> {
    others: T,
    topics: Vec<(String, T)>,
}

impl<T> PerTopic<T> {
    /// Reads the setting. `others` is for the topics that it does not name, where it has no value for all.
    pub(super) fn parse(
        text: &str,
        others: T,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<PerTopic<T>, String> {
        let (mut of_others, mut topics) = (None, Vec::<(String, T)>::new());
        for item in text.split(',').map(str::trim) {
            match split_topic(item) {
                (Some(topic), _) if topics.iter().any(|(known, _)| known == topic) => {
                    return Err(format!("{topic} is there twice"));
                }
                (Some(topic), value) => topics.push((topic.to_owned(), read(value)?)),
                (None, _) if of_others.is_some() => {
                    return Err(format!("{item:?} is a second one for all topics"));
                }
                (None, value) => of_others = Some(read(value)?),
            }
        }
        Ok(PerTopic { others: of_others.unwrap_or(others), topics })
    }

    pub(crate) fn of(&self, topic: &str) -> &T {
        self.topics.iter().find(|(name, _)| name == topic).map_or(&self.others, |(_, value)| value)
    }

    /// The topics that have a value of their own.
    pub(super) fn topics(&self) -> impl Iterator<Item = &str> {
        self.topics.iter().map(|(name, _)| name.as_str())
    }

    /// All values.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.others).chain(self.topics.iter().map(|(_, value)| value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Result<PerTopic<u8>, String> {
        PerTopic::parse(text, 0, |text| text.parse().map_err(|_| format!("{text:?} is no number")))
    }

    #[test]
    fn a_topic_has_its_own_value_or_that_of_all() {
        let found = numbers("1, orders=2,logs-2=3").expect("accepted");
        assert_eq!(["orders", "logs-2", "logs"].map(|topic| *found.of(topic)), [2, 3, 1]);
        assert_eq!(*numbers("orders=2").expect("accepted").of("logs"), 0);
        assert_eq!(found.topics().collect::<Vec<_>>(), ["orders", "logs-2"]);
        assert_eq!(found.values().collect::<Vec<_>>(), [&1, &2, &3]);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (text, why) in [
            ("1,2", "\"2\" is a second one for all topics"),
            ("orders=1,orders=1", "orders is there twice"),
            ("orders=x", "\"x\" is no number"),
            ("1,", "\"\" is a second one for all topics"),
            ("", "\"\" is no number"),
        ] {
            assert_eq!(numbers(text).expect_err("refused"), why, "{text}");
        }
    }
}
