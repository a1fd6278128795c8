//! What a client sends, cut into frames. Only a frame that has not come whole is kept, and of DATA nothing: its bytes are dropped
//! as they come.

use super::frame::{Code, HEAD, Head, LARGEST, PREFACE, kind};

#[derive(Debug, Default)]
pub(super) struct Input {
    /// How many bytes of the preface have come.
    preface: u8,
    /// The beginning of a frame.
    partial: Vec<u8>,
    /// How many bytes of DATA are still to be dropped.
    skip: usize,
}

/// What was cut off.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cut<'a> {
    /// A frame that is whole. Of DATA, only the first byte of the payload is given.
    Frame(Head, &'a [u8]),
    /// Nothing is whole.
    Nothing,
}

impl Input {
    /// Takes the next frame off the bytes. It may lie in `whole`, a buffer of the caller.
    ///
    /// # Errors
    /// If this is not HTTP/2, or a frame is larger than is taken.
    pub(super) fn cut<'a, 'b: 'a>(
        &mut self,
        bytes: &mut &'b [u8],
        whole: &'a mut Vec<u8>,
    ) -> Result<Cut<'a>, Code> {
        self.pass_preface(bytes)?;
        let dropped = self.skip.min(bytes.len());
        *bytes = &bytes[dropped..];
        self.skip -= dropped;
        if bytes.is_empty() {
            return Ok(Cut::Nothing);
        }
        if self.partial.is_empty()
            && let Some((head, rest)) = bytes.split_first_chunk::<HEAD>()
        {
            let head = check(Head::read(head))?;
            if let Some((payload, rest)) = rest.split_at_checked(wanted(&head)) {
                self.skip = head.length - payload.len();
                *bytes = rest;
                return Ok(Cut::Frame(head, payload));
            }
        }
        self.fill(bytes, HEAD);
        let Some(head) = self.partial.first_chunk::<HEAD>().map(Head::read) else { return Ok(Cut::Nothing) };
        let size = HEAD + wanted(&check(head)?);
        self.fill(bytes, size);
        if self.partial.len() < size {
            return Ok(Cut::Nothing);
        }
        self.skip = HEAD + head.length - size;
        *whole = std::mem::take(&mut self.partial);
        Ok(Cut::Frame(head, &whole[HEAD..]))
    }

    /// How much is kept, in bytes.
    pub(super) fn kept(&self) -> usize {
        self.partial.len()
    }

    fn pass_preface(&mut self, bytes: &mut &[u8]) -> Result<(), Code> {
        let left = &PREFACE[usize::from(self.preface)..];
        let count = left.len().min(bytes.len());
        if bytes[..count] != left[..count] {
            return Err(Code::Protocol);
        }
        self.preface += count as u8;
        *bytes = &bytes[count..];
        Ok(())
    }

    /// Moves bytes to the partial frame until that has this size.
    fn fill(&mut self, bytes: &mut &[u8], size: usize) {
        let count = size.saturating_sub(self.partial.len()).min(bytes.len());
        self.partial.extend_from_slice(&bytes[..count]);
        *bytes = &bytes[count..];
    }
}

/// How much of the payload is kept.
fn wanted(head: &Head) -> usize {
    match head.kind {
        kind::DATA => head.length.min(1),
        _ => head.length,
    }
}

fn check(head: Head) -> Result<Head, Code> {
    if head.length > LARGEST { Err(Code::FrameSize) } else { Ok(head) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::frame::put;
    use super::*;

    fn frames(parts: &[&[u8]]) -> Result<Vec<(Head, Vec<u8>)>, Code> {
        let (mut input, mut all) = (Input::default(), Vec::new());
        for mut bytes in parts.iter().copied() {
            loop {
                let mut whole = Vec::new();
                match input.cut(&mut bytes, &mut whole)? {
                    Cut::Frame(head, payload) => all.push((head, payload.to_vec())),
                    Cut::Nothing => break,
                }
            }
            assert!(bytes.is_empty());
            assert!(input.partial.len() < HEAD + LARGEST);
        }
        Ok(all)
    }

    proptest! {
        /// However the bytes come, the frames are the same.
        #[test]
        fn frames_are_whole_however_they_come(
            sent in prop::collection::vec((0_u8..12, 0_usize..600), 0..12), sizes in prop::collection::vec(1_usize..90, 1..400)
        ) {
            let (mut bytes, mut wanted) = (PREFACE.to_vec(), Vec::new());
            for (kind, size) in sent {
                let payload: Vec<u8> = (0..size).map(|n| n as u8).collect();
                put(&mut bytes, kind, 5, 7, &payload);
                let kept = if kind == kind::DATA { size.min(1) } else { size };
                wanted.push((Head { length: size, kind, flags: 5, stream: 7 }, payload[..kept].to_vec()));
            }
            let (mut parts, mut left) = (Vec::new(), &bytes[..]);
            for size in sizes {
                let (part, rest) = left.split_at(size.min(left.len()));
                parts.push(part);
                left = rest;
            }
            parts.push(left);
            prop_assert_eq!(frames(&parts), Ok(wanted));
        }
    }

    #[test]
    fn what_is_not_http_2_or_too_large_is_refused() {
        assert_eq!(frames(&[b"PRI * HTTP/2.0\r\n\r\nSX"]), Err(Code::Protocol));
        assert_eq!(frames(&[b"GET / HTTP/1.1\r\n"]), Err(Code::Protocol));
        let mut large = PREFACE.to_vec();
        put(&mut large, kind::HEADERS, 0, 1, &[0; LARGEST + 1]);
        assert_eq!(frames(&[&large]), Err(Code::FrameSize));
    }
}
