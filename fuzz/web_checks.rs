//! What must hold of the web side for any input: run by the fuzz targets, and over the corpus by a plain test.

use tailrace_web::check_limits_file;

/// No text makes reading a limits file panic; one that is refused is refused in one line, at a place in it.
pub(crate) fn limits_file(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match check_limits_file(text) {
        Ok(tenants) => assert!(tenants <= text.len()),
        Err(error) => {
            assert!(!error.contains('\n'), "{error:?}");
            let (line, column) = place(&error).unwrap_or_else(|| panic!("no place in {error:?}"));
            assert!((1..=text.matches('\n').count() + 1).contains(&line), "{error}");
            let longest = text.split('\n').nth(line - 1).unwrap_or_default().chars().count() + 1;
            assert!((1..=longest).contains(&column), "{error}");
        }
    }
}

/// `line 2, column 3: …`
fn place(error: &str) -> Option<(usize, usize)> {
    let (line, rest) = error.strip_prefix("line ")?.split_once(", column ")?;
    Some((line.parse().ok()?, rest.split_once(':')?.0.parse().ok()?))
}
