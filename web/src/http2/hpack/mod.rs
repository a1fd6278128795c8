//! HPACK, the compression of headers (RFC 7541): only what a server must decode. What it sends is encoded without a state, in
//! [`response`](super::response).

mod decode;
mod huffman;
mod table;

pub(super) use decode::{Decoder, Refused};
