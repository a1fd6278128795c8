//! Whether a filter would tell what its client may not see. Whoever may compare a masked field finds its value by asking often
//! enough; so the comparison is refused, not made to match nothing. So is the question whether such a field is there, and a masked field
//! among alternatives.

use crate::core::Inner;
use crate::record::field::Field;
use crate::record::filter::Filter;
use crate::record::tenant::TenantId;

/// A condition that a client may not use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MaskedCondition {
    /// It asks for a masked field, or for one that has or lies in a masked field.
    #[error(
        "the condition {0:?} asks for a masked field, or one around or in it, which needs a token with the scope event:unmask:{{tenant}}"
    )]
    Field(String),
    /// It asks for a header that is not in the list of headers that envelopes carry.
    #[error("the condition {0:?} asks for a header that is not shown here (TAILRACE_ENVELOPE_HEADERS)")]
    Header(String),
}

/// Refuses conditions on masked fields of the topics (if none is named: of all that can have records of the tenant), and on
/// headers that no envelope carries. Types and keys are shown to everybody.
pub(crate) fn check_filter(
    inner: &Inner,
    tenant: &TenantId,
    topics: &[String],
    filter: &Filter,
    unmasked: bool,
) -> Result<(), MaskedCondition> {
    for (field, condition) in filter.fields() {
        match field {
            Field::Key | Field::Type => {}
            Field::Header(name) if inner.shared.privacy.headers.has(name) => {}
            Field::Header(_) => return Err(MaskedCondition::Header(condition.to_owned())),
            Field::Value(_) if unmasked => {}
            Field::Value(pointer) if is_masked(inner, tenant, topics, &pointer.steps()) => {
                return Err(MaskedCondition::Field(condition.to_owned()));
            }
            Field::Value(_) => {}
        }
    }
    Ok(())
}

fn is_masked(inner: &Inner, tenant: &TenantId, topics: &[String], steps: &[&str]) -> bool {
    let masks = &inner.shared.privacy.masks;
    if !topics.is_empty() {
        return topics.iter().any(|topic| masks.touches_in(topic, steps));
    }
    // Topics that come later count, too: a view covers them when they do.
    masks.touches_anywhere(steps)
        || masks.topics().any(|topic| inner.rules.can_yield(topic, tenant) && masks.touches_in(topic, steps))
}
