//! A header block that comes in several frames (RFC 9113, section 6.10).

use super::frame::{Code, Head, flag};
use super::request::MAX_SIZE;

/// The most frames of one block: each costs work, even an empty one (CVE-2024-27316).
const MAX_FRAMES: u8 = 16;

/// A block of which not everything has come. Until it has, no other frame may come.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) stream: u32,
    pub(super) ends_stream: bool,
    pub(super) bytes: Vec<u8>,
    frames: u8,
}

impl Block {
    pub(super) fn new(head: &Head, fragment: &[u8]) -> Block {
        let ends_stream = head.has(flag::END_STREAM);
        Block { stream: head.stream, ends_stream, bytes: fragment.to_vec(), frames: 1 }
    }

    /// Adds the next frame.
    pub(super) fn add(&mut self, fragment: &[u8]) -> Result<(), Code> {
        self.frames += 1;
        // What is compressed is hardly larger than what it says.
        if self.frames > MAX_FRAMES || self.bytes.len() + fragment.len() > 2 * MAX_SIZE {
            return Err(Code::EnhanceYourCalm);
        }
        self.bytes.extend_from_slice(fragment);
        Ok(())
    }
}
