//! A record as bytes of an event stream: [`envelope`] is what stands in `data:`, [`frame`] the block around it.

pub(crate) mod envelope;
pub(crate) mod frame;
