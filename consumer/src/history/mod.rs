//! What only Kafka still has, read by a few readers outside of the group.
//!
//! A reader keeps its assignment for a while, and librdkafka fetches ahead meanwhile: a read that continues where the last
//! one ended finds its records fetched.
//!
//! The files stand in one direction; each knows only those below it:
//!
//! | file | |
//! | --- | --- |
//! | `pool` | the readers, and which of them takes a read |
//! | `segment` | one read, from the assignment to the segment |
//! | `cause` | why a read brought no records, as Kafka says when it is asked |
//! | `stretch` | the records of one read, as they come |
//! | `reader` | one client, which reads one partition at a time |

mod cause;
mod pool;
mod reader;
mod segment;
mod stretch;

pub(crate) use pool::Readers;
