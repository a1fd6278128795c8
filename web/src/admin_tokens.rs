//! The tokens of operators: lines of a file, which is read again for every request that brings a token, so that a line that is
//! added or removed counts at once.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::whole_file::read_text;

/// The shortest token, as of an HS256 key: nobody guesses 32 random bytes.
const MIN_TOKEN: usize = 32;
/// The longest token; a longer one would not fit into a request's head.
const MAX_TOKEN: usize = 4096;
/// The most bytes of the file.
const MAX_FILE: u64 = 64 * 1024;

/// The tokens, as of the last time that the file could be used.
pub(crate) struct AdminTokens {
    path: PathBuf,
    known: Mutex<Known>,
}

struct Known {
    /// Tokens are compared by digests, so that the time tells nothing of a token's length or content.
    digests: Vec<[u8; 32]>,
    /// What was wrong with the file when it was last read.
    flaw: Option<String>,
}

impl AdminTokens {
    /// Reads the file.
    ///
    /// # Errors
    /// What is accepted in its place, and what is wrong with it; never a part of a token.
    pub(crate) fn read(path: PathBuf) -> Result<AdminTokens, String> {
        let digests = digests(&path)?;
        Ok(AdminTokens { path, known: Mutex::new(Known { digests, flaw: None }) })
    }

    /// Whether that is a token of the file as it is now. If the file cannot be used now, its last good content counts. Reads
    /// a file.
    pub(crate) fn admit(&self, token: &str) -> bool {
        if !(MIN_TOKEN..=MAX_TOKEN).contains(&token.len()) {
            return false;
        }
        let mut known = self.known.lock();
        known.take(digests(&self.path));
        known.have(token)
    }
}

impl Known {
    fn take(&mut self, read: Result<Vec<[u8; 32]>, String>) {
        match read {
            Ok(digests) => {
                if digests != self.digests {
                    tracing::info!(tokens = digests.len(), "TAILRACE_ADMIN_TOKEN_FILE has other tokens now");
                }
                *self = Known { digests, flaw: None };
            }
            Err(flaw) => {
                // Once for each flaw, not once for each request.
                if self.flaw.as_ref() != Some(&flaw) {
                    tracing::warn!(
                        accepted = flaw,
                        "TAILRACE_ADMIN_TOKEN_FILE cannot be used: the tokens that it had before stay"
                    );
                }
                self.flaw = Some(flaw);
            }
        }
    }

    fn have(&self, token: &str) -> bool {
        let digest = digest(token);
        let same = |one: &[u8; 32]| one.ct_eq(&digest);
        self.digests.iter().map(same).fold(Choice::from(0), |any, one| any | one).into()
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The digests of the file's lines. Empty lines do not count.
fn digests(path: &Path) -> Result<Vec<[u8; 32]>, String> {
    let text = read_text(path, MAX_FILE).map_err(|error| accepted(&error.to_string()))?;
    let lines = text.lines().enumerate().map(|(index, line)| (index, line.trim_end()));
    let lines: Vec<(usize, &str)> = lines.filter(|(_, line)| !line.is_empty()).collect();
    if lines.is_empty() {
        return Err(accepted("it is empty"));
    }
    match lines.iter().find_map(|(index, line)| Some((index, flaw(line)?))) {
        Some((index, flaw)) => Err(accepted(&format!("line {} {flaw}", index + 1))),
        None => Ok(lines.iter().map(|(_, line)| digest(line)).collect()),
    }
}

fn accepted(flaw: &str) -> String {
    format!("a file with a token on each line, each of {MIN_TOKEN} bytes or more ({flaw})")
}

fn flaw(token: &str) -> Option<String> {
    // Other characters cannot be sent in a header.
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some("has characters that are no visible ASCII".to_owned());
    }
    let is_legal = (MIN_TOKEN..=MAX_TOKEN).contains(&token.len());
    (!is_legal).then(|| format!("has {} bytes", token.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "a token of an operator with spaces in it";

    fn file(name: &str, text: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("tailrace-admin-tokens-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path
    }

    fn token(letter: char) -> String {
        letter.to_string().repeat(MIN_TOKEN)
    }

    fn why(text: &str) -> String {
        AdminTokens::read(file("flaw", text)).err().unwrap()
    }

    #[test]
    fn a_file_is_read_again_and_a_bad_one_leaves_what_was_good() {
        let path = file("again", &format!("{}\r\n\n{}\n", token('a'), token('b')));
        let tokens = AdminTokens::read(path.clone()).unwrap();
        assert!(tokens.admit(&token('a')) && tokens.admit(&token('b')) && !tokens.admit(&token('c')));
        std::fs::write(&path, token('c')).unwrap();
        assert!(tokens.admit(&token('c')) && !tokens.admit(&token('a')));
        std::fs::write(&path, "short").unwrap();
        assert!(tokens.admit(&token('c')) && !tokens.admit("short"));
        std::fs::remove_file(&path).unwrap();
        assert!(tokens.admit(&token('c')));
        std::fs::write(&path, token('d')).unwrap();
        assert!(tokens.admit(&token('d')) && !tokens.admit(&token('c')));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_used_says_why_and_no_token() {
        assert!(why("").contains("it is empty"));
        assert!(why("\n \n").contains("it is empty"));
        let short = why(&format!("{}\nhunter2\n", token('a')));
        assert!(short.contains("line 2 has 7 bytes") && !short.contains("hunter2"), "{short}");
        assert!(why(ONE).contains("line 1 has characters"), "a space cannot be within a token");
        assert!(why(&"é".repeat(40)).contains("line 1 has characters"));
        assert!(why(&token('a').repeat(3000)).contains("larger"));
        let folder = AdminTokens::read(std::env::temp_dir()).err().unwrap();
        assert!(folder.contains("not a file"), "{folder}");
        assert!(AdminTokens::read("/nowhere/at/all".into()).err().unwrap().contains("No such file"));
    }

    #[test]
    fn a_prefix_a_longer_one_and_nothing_are_no_token() {
        let tokens = AdminTokens::read(file("prefix", &format!("{}{}", token('a'), token('b')))).unwrap();
        for wrong in [String::new(), token('a'), format!("{}{}c", token('a'), token('b')), "a".repeat(5000)] {
            assert!(!tokens.admit(&wrong));
        }
        assert!(tokens.admit(&format!("{}{}", token('a'), token('b'))));
    }
}
