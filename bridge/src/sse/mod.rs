//! A record as bytes of an event stream: [`envelope`] and [`cloudevents`] write the content of `data:`, [`frame`] the block
//! around it; [`privacy`] says what of the record that is.
//!
//! ```
//! use tailrace_bridge::Control;
//!
//! let data = serde_json::json!({ "replayed": 12 });
//! let event = Control { event: "tailrace.synced", data, id: None, retry_ms: None };
//! assert_eq!(event.encode(), "event: tailrace.synced\ndata: {\"replayed\":12}\n\n");
//! assert_eq!(Control::progress("AQI"), "id: AQI\n\n");
//! ```

pub(crate) mod cloudevents;
pub(crate) mod envelope;
pub(crate) mod event_source;
pub(crate) mod frame;
pub(crate) mod native_event;
pub(crate) mod privacy;
