//! The schema registry: schemas by their ids, fetched once, by Confluent's API.
//!
//! Ids are never given to another schema, so that what was fetched once stays true, and every replica that has a schema decodes by
//! it alike. What replicas may differ in is what they could fetch, and when. So a question has three answers ([`Look`]): the schema;
//! that there is none, which is said only after the wait of `verdict`; and that it is not known yet, upon which the caller holds its
//! records back and asks again. A registry that does not answer, refuses the credentials, or answers something else than schemas
//! leaves it at the third.
//!
//! The files stand in one direction; each knows only those below it:
//!
//! | file | |
//! | --- | --- |
//! | `handle` | the registry as the threads of this package see it, and the thread that asks it |
//! | `known` | what is known, and what is to be asked for and when |
//! | `verdict` | when it counts that a registry does not have an id |
//! | `fetch` | one schema with all that it refers to, from whichever address has it |
//! | `client` | one question to one address |
//! | `schema` | a schema that was parsed |

mod client;
mod fetch;
mod handle;
mod known;
mod schema;
mod verdict;

pub(crate) use handle::{Look, Registry};
pub(crate) use known::Found;
pub(crate) use schema::Schema;

#[cfg(test)]
pub(crate) mod server;
#[cfg(test)]
mod tests;
