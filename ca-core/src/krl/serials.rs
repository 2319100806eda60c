//! A set of serials as ranges, so that a million serials in a row cost as much as one.

/// Serials, sorted, without overlaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SerialSet {
    ranges: Vec<(u64, u64)>,
}

impl SerialSet {
    /// Adds every serial from `first` to `last`, both included. Serial 0 is left out: OpenSSH cannot revoke it.
    pub fn insert_range(&mut self, first: u64, last: u64) {
        let first = first.max(1);
        if first > last {
            return;
        }
        let start = self.ranges.partition_point(|(_, end)| end.saturating_add(1) < first);
        let stop = self
            .ranges
            .partition_point(|(begin, _)| *begin <= last.saturating_add(1));
        let merged = self
            .ranges
            .get(start..stop)
            .unwrap_or_default()
            .iter()
            .fold((first, last), |(low, high), (begin, end)| {
                (low.min(*begin), high.max(*end))
            });
        self.ranges.splice(start..stop.max(start), [merged]);
    }

    /// Adds one serial.
    pub fn insert(&mut self, serial: u64) {
        self.insert_range(serial, serial);
    }

    /// Whether a serial is in it.
    #[must_use]
    pub fn contains(&self, serial: u64) -> bool {
        let at = self.ranges.partition_point(|(_, end)| *end < serial);
        self.ranges.get(at).is_some_and(|(begin, _)| *begin <= serial)
    }

    /// The ranges, sorted, both ends included.
    #[must_use]
    pub fn ranges(&self) -> &[(u64, u64)] {
        &self.ranges
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

impl FromIterator<u64> for SerialSet {
    /// Takes serials in any order; sorted ones cost least.
    fn from_iter<I: IntoIterator<Item = u64>>(serials: I) -> Self {
        let mut sorted: Vec<u64> = serials.into_iter().filter(|serial| *serial != 0).collect();
        sorted.sort_unstable();
        let mut set = Self::default();
        for serial in sorted {
            match set.ranges.last_mut() {
                Some((_, end)) if serial <= end.saturating_add(1) => *end = serial.max(*end),
                _ => set.ranges.push((serial, serial)),
            }
        }
        set
    }
}
