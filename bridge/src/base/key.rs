//! Secret keys of 32 bytes, and the files that hold them: one key a line.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// What a line of a key file may be.
pub(crate) const ACCEPTED_KEY: &str =
    "32 random bytes as 64 hexadecimal digits or as base64, as `openssl rand -hex 32` prints them";

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// A key, from a line of a file. The error never repeats the line.
pub(crate) fn parse_key(line: &str) -> Result<[u8; 32], &'static str> {
    let bytes = hex(line).or_else(|| STANDARD.decode(line).ok()).or_else(|| URL_SAFE.decode(line).ok());
    let bytes = bytes.ok_or("is neither hexadecimal nor base64")?;
    let key: [u8; 32] = bytes.try_into().map_err(|_| "is not 32 bytes long")?;
    if key.iter().all(|byte| *byte == key[0]) {
        return Err("repeats one byte, and is no secret");
    }
    Ok(key)
}

fn hex(line: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    // So many digits are hexadecimal only: base64 of 32 bytes has 43 or 44 characters.
    let (pairs, []) = line.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// The lines of a key file with their numbers from 1, without blank lines and comments (`#`).
pub(crate) fn key_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_hexadecimal_and_as_base64() {
        let key: [u8; 32] = std::array::from_fn(|index| index as u8 * 8 + 3);
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let padded = STANDARD.encode(key);
        for text in [
            &hex,
            &hex.to_uppercase(),
            &padded,
            padded.trim_end_matches('='),
            &URL_SAFE.encode(key),
            URL_SAFE.encode(key).trim_end_matches('='),
        ] {
            assert_eq!(parse_key(text), Ok(key), "{text}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_repeated() {
        for (text, why) in [
            ("correct horse battery staple", "neither"),
            ("c2hvcnQ", "not 32 bytes"),
            (&"ab".repeat(31), "not 32 bytes"),
            (&"ab".repeat(33), "not 32 bytes"),
            (&"ab".repeat(32), "repeats one byte"),
            (&"0".repeat(64), "repeats one byte"),
        ] {
            let said = parse_key(text).unwrap_err();
            assert!(said.contains(why) && !said.contains(text), "{text}: {said}");
        }
    }

    #[test]
    fn blank_lines_and_comments_are_passed_over() {
        let lines: Vec<_> = key_lines("# first\r\n\r\n  one \n\n#two\nthree").collect();
        assert_eq!(lines, [(3, "one"), (6, "three")]);
    }
}
