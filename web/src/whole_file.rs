//! Small files of settings, read whole: keys, tokens, certificates, limits.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Why a file's content is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("{text}")]
    Io { kind: io::ErrorKind, text: String },
    #[error("it is not a file")]
    NotFile,
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
    #[error("it is not UTF-8")]
    NotText,
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> ReadError {
        ReadError::Io { kind: error.kind(), text: error.to_string() }
    }
}

/// Reads a file of at most `max` bytes. A pipe, which would wait for its writer, and a device, which may have no end, are refused.
pub(crate) fn read_whole(path: &Path, max: u64) -> Result<Vec<u8>, ReadError> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(ReadError::NotFile);
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max { Err(ReadError::TooLarge(max)) } else { Ok(bytes) }
}

/// As [`read_whole`], of a file that is text.
pub(crate) fn read_text(path: &Path, max: u64) -> Result<String, ReadError> {
    String::from_utf8(read_whole(path, max)?).map_err(|_| ReadError::NotText)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_that_is_small_enough_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert!(matches!(read_text(&path, 4), Err(ReadError::Io { kind: io::ErrorKind::NotFound, .. })));
        std::fs::write(&path, "four").unwrap();
        assert_eq!(read_text(&path, 4), Ok("four".to_owned()));
        assert_eq!(read_text(&path, 3), Err(ReadError::TooLarge(3)));
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(read_text(&path, 4), Err(ReadError::NotText));
        assert_eq!(read_whole(&path, 4), Ok(vec![0xff]));
        assert_eq!(read_whole(folder.path(), 4), Err(ReadError::NotFile));
        assert_eq!(read_whole(Path::new("/dev/zero"), 4), Err(ReadError::NotFile));
    }
}
