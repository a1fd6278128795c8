//! What tenants may see of records and of positions: the settings, and how they apply to one view.

use std::str::FromStr;

use crate::position::seal::IdKeys;
use crate::record::RecordRef;
use crate::record::mask::Masks;
use crate::record::mask_edit::Masked;
use crate::record::pseudonym::TenantKey;
use crate::sse::envelope::Envelope;
use crate::sse::event_source::CloudEventsSource;
use crate::sse::framing::{EventName, Framing};

/// What tenants may see. By default everything of their own records, and all positions.
#[derive(Debug, Default)]
pub struct Privacy {
    /// How event ids are sealed; `None`: not at all.
    pub id_keys: Option<IdKeys>,
    /// Fields that only those see whose token says so.
    pub masks: Masks,
    /// Headers that envelopes carry.
    pub headers: HeaderList,
    /// Where records come from, for those who get them as CloudEvents.
    pub source: CloudEventsSource,
}

/// The value of `TAILRACE_ENVELOPE_HEADERS`: the headers that envelopes carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HeaderList {
    /// All of them.
    #[default]
    All,
    /// Those of these names.
    Listed(Vec<String>),
}

impl HeaderList {
    /// Whether a header of this name is carried.
    pub fn has(&self, name: &str) -> bool {
        match self {
            HeaderList::All => true,
            HeaderList::Listed(names) => names.iter().any(|listed| listed == name),
        }
    }
}

impl FromStr for HeaderList {
    type Err = String;

    fn from_str(text: &str) -> Result<HeaderList, String> {
        const ACCEPTED: &str = "accepted: names of headers, comma-separated; * for all; empty for none";
        let names: Vec<String> = match text.trim() {
            "*" => return Ok(HeaderList::All),
            "" => Vec::new(),
            names => names.split(',').map(|name| name.trim().to_owned()).collect(),
        };
        match names.iter().find(|name| name.is_empty() || *name == "*") {
            Some(wrong) => Err(format!("{wrong:?} beside names is no name; {ACCEPTED}")),
            None => Ok(HeaderList::Listed(names)),
        }
    }
}

/// How the records of one view are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look<'a> {
    pub(crate) framing: Framing,
    pub(crate) event_name: EventName,
    pub(crate) envelope: Envelope,
    pub(crate) headers: &'a HeaderList,
    pub(crate) source: &'a CloudEventsSource,
    /// `None`: fields are shown as they are.
    pub(crate) masking: Option<Masking<'a>>,
}

/// The masks, and the key of the tenant's hashes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Masking<'a> {
    pub(crate) masks: &'a Masks,
    pub(crate) key: Option<&'a TenantKey>,
}

impl Look<'_> {
    /// The record's value after the masks of its topic. A tombstone has no fields; where those are in a value that cannot be
    /// decoded, nobody knows.
    pub(crate) fn mask(&self, topic: &str, record: &RecordRef<'_>) -> Masked {
        match (self.masking, record.value) {
            (Some(masking), Some(_)) if record.form.has_raw_value() && masking.masks.has(topic) => {
                Masked::Withheld
            }
            (Some(masking), Some(value)) => masking.masks.mask(topic, value, masking.key),
            _ => Masked::Same,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_headers_is_read() {
        let listed =
            |names: &[&str]| Ok(HeaderList::Listed(names.iter().map(|name| name.to_string()).collect()));
        assert_eq!("*".parse(), Ok(HeaderList::All));
        assert_eq!("".parse(), listed(&[]));
        assert_eq!("region, X-Trace".parse(), listed(&["region", "X-Trace"]));
        for bad in ["a,", ",", "a,*", "*,a"] {
            let why = bad.parse::<HeaderList>().unwrap_err();
            assert!(why.contains("accepted: names of headers"), "{bad}: {why}");
        }
    }

    #[test]
    fn names_of_headers_are_compared_exactly() {
        let list: HeaderList = "region".parse().unwrap();
        assert!(list.has("region") && !list.has("Region") && !list.has("regions") && HeaderList::All.has(""));
    }
}
