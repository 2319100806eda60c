//! `[rotation]`: how sure it has to be that hosts trust a new CA key before it signs.

use signet_core::toml_reader::TableReader;

/// When a new CA key may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// How many of a hundred enrolled hosts have to have reported that they trust it.
    pub trusting_percent: u64,
    /// Seconds for which it has to have been published where no host reports.
    pub publish_for_secs: u64,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            trusting_percent: 100,
            publish_for_secs: 86_400,
        }
    }
}

impl Rotation {
    pub(super) fn read(top: &TableReader<'_>) -> Self {
        let default = Self::default();
        let Some(section) = top.table("rotation") else {
            return default;
        };
        Self {
            trusting_percent: section
                .number("trusting_percent", 1..=100)
                .unwrap_or(default.trusting_percent),
            publish_for_secs: section
                .duration_secs("publish_for", 1..=365 * 86_400)
                .unwrap_or(default.publish_for_secs),
        }
    }
}
