//! A message of any type, which says of which.

use super::types::Shape;
use super::walk::Walk;
use super::well_known::packed_any;
use super::wrong::Wrong;
use crate::json::{put_base64, put_string};

impl Walk<'_> {
    /// Appends `{"@type":url,"field":value}`, or `{"@type":url,"value":value}` where the type is written in a way of its own. What
    /// is of no type of the schema's files cannot be read: its value is the bytes, in base64.
    pub(super) fn any(&mut self, bytes: &[u8], out: &mut Vec<u8>, depth: u32) -> Result<(), Wrong> {
        let (url, packed) = packed_any(bytes)?;
        if url.is_empty() && packed.is_empty() {
            out.extend_from_slice(b"{}");
            return Ok(());
        }
        out.extend_from_slice(b"{\"@type\":");
        put_string(out, url);
        let name = url.rsplit('/').next().unwrap_or_default();
        let types = self.types;
        let known = types.by_name.get(name).map(|index| (*index, &types.messages[*index as usize]));
        match known {
            Some((_, of)) if of.shape == Shape::Object => self.fields(of, packed, out, depth)?,
            Some((index, _)) => {
                out.extend_from_slice(b",\"value\":");
                self.message(index, packed, out, depth)?;
            }
            None => {
                out.extend_from_slice(b",\"value\":");
                put_base64(out, packed);
            }
        }
        out.push(b'}');
        Ok(())
    }
}
