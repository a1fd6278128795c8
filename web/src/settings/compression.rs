//! How streams are compressed.

use super::value::{SettingError, parse, wrong};
use crate::coding::Compression;

/// Few events make a stretch that saves little; who joins waits longer for the end of a long one.
const STRETCH_BOUNDS: std::ops::RangeInclusive<u64> = 1..=10_000;

#[derive(Clone, clap::Args)]
pub(super) struct Args {
    /// Compression of streams whose clients accept it: `auto` (zstd or gzip), `zstd`, `gzip` or `off`
    #[arg(long = "compression", env = "TAILRACE_COMPRESSION", default_value = "auto", value_name = "CODING")]
    compression: String,
    /// Level of compression, from 1 (fast) to 9 (small)
    #[arg(
        long = "compression-level",
        env = "TAILRACE_COMPRESSION_LEVEL",
        default_value = "5",
        value_name = "LEVEL"
    )]
    level: String,
    /// Events after which, or a second, compression of a view begins anew if a client has joined meanwhile (1 to 10000)
    #[arg(
        long = "compression-stretch",
        env = "TAILRACE_COMPRESSION_STRETCH",
        default_value = "64",
        value_name = "EVENTS"
    )]
    stretch: String,
}

impl Args {
    pub(super) fn read(&self) -> Result<Compression, SettingError> {
        let offer = parse("TAILRACE_COMPRESSION", &self.compression)?;
        let (level, stretch) = (self.level.trim(), self.stretch.trim());
        let is_level = |level: &u8| (1..=9).contains(level);
        let level = level
            .parse()
            .ok()
            .filter(is_level)
            .ok_or_else(|| wrong("TAILRACE_COMPRESSION_LEVEL", level, "a whole number from 1 to 9"))?;
        let stretch =
            stretch.parse().ok().filter(|stretch| STRETCH_BOUNDS.contains(stretch)).ok_or_else(|| {
                wrong("TAILRACE_COMPRESSION_STRETCH", stretch, "a whole number from 1 to 10000")
            })?;
        Ok(Compression { offer, level, stretch })
    }
}
