//! A record as the bytes that clients get: [`envelope`] and [`cloudevents`] write its data, [`frame`] the block or the object around
//! it, as the [`framing`] has it, and [`web_socket`] the header of a message; [`privacy`] says what of the record that is.
//!
//! ```
//! use tailrace_bridge::{Control, Framing};
//!
//! let data = serde_json::json!({ "replayed": 12 });
//! let event = Control { event: "tailrace.synced", data, id: None, retry_ms: None };
//! assert_eq!(event.encode(Framing::Sse), "event: tailrace.synced\ndata: {\"replayed\":12}\n\n");
//! assert_eq!(event.encode(Framing::Ndjson), "{\"event\":\"tailrace.synced\",\"data\":{\"replayed\":12}}\n");
//! assert_eq!(Control::heartbeat(Framing::Sse, Some("AQI")), "id: AQI\n\n");
//! ```

pub(crate) mod cloudevents;
pub(crate) mod envelope;
pub(crate) mod event_source;
pub(crate) mod frame;
pub(crate) mod framing;
pub(crate) mod native_event;
pub(crate) mod privacy;
pub mod web_socket;
