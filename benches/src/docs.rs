//! Writes docs/benchmarks.md, where each scenario has the region between its marks, and docs/benchmarks.json.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

/// Replaces the region of that name; if there is none, adds it at the end, under the title.
pub(crate) fn put(page: &str, name: &str, title: &str, text: &str) -> String {
    let (open, close) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->\n"));
    let region = format!("{open}{text}{close}");
    let found = page.find(&open).and_then(|from| {
        let end = page[from..].find(&close)?;
        Some((from, from + end + close.len()))
    });
    match found {
        Some((from, to)) => format!("{}{region}{}", &page[..from], &page[to..]),
        None => format!("{}\n\n## {title}\n\n{region}", page.trim_end()),
    }
}

/// Writes one scenario's region, and its entry in the JSON.
pub(crate) fn write(folder: &Path, name: &str, title: &str, text: &str, entry: Value) -> Result<()> {
    let page = folder.join("benchmarks.md");
    let old = fs::read_to_string(&page).with_context(|| format!("read {}", page.display()))?;
    fs::write(&page, put(&old, name, title, text)).context("write the page")?;
    let file = folder.join("benchmarks.json");
    let mut all: Map<String, Value> = match fs::read(&file) {
        Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("read {}", file.display()))?,
        Err(_) => Map::new(),
    };
    all.insert(name.to_owned(), entry);
    let text = serde_json::to_string_pretty(&all).context("write JSON")?;
    fs::write(&file, text + "\n").context("write the figures")
}

#[cfg(test)]
mod tests {
    use super::put;

    #[test]
    fn prose_around_a_region_is_kept() {
        let page = "# Page\n\nbefore\n\n<!-- begin a -->\nold\n<!-- end a -->\n\nafter\n";
        let new = put(page, "a", "A", "new\n");
        assert_eq!(new, page.replace("old", "new"));
    }

    #[test]
    fn a_region_that_is_not_there_is_added_under_its_title() {
        let page = put("# Page\n", "b", "Bursts", "table\n");
        assert_eq!(page, "# Page\n\n## Bursts\n\n<!-- begin b -->\ntable\n<!-- end b -->\n");
    }
}
