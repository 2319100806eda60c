//! A set of serials as ranges, so that a million serials in a row cost as much as one.

/// Serials, sorted, without overlaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SerialSet {
    ranges: Vec<(u64, u64)>,
}

impl SerialSet {
    /// Adds every serial from `first` to `last`, both included. Serial 0 is left out: OpenSSH cannot revoke it.
    ///
    /// What lies behind is moved, some milliseconds with a million scattered serials; use [`Self::extend_ranges`] for many.
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

    /// Adds one serial, as [`Self::insert_range`] does.
    pub fn insert(&mut self, serial: u64) {
        self.insert_range(serial, serial);
    }

    /// Adds many ranges in any order, both ends included, in the time that sorting them takes.
    #[expect(
        clippy::stable_sort_primitive,
        reason = "the stable sort finds what is sorted already and only merges it; the other one would sort a million anew"
    )]
    pub fn extend_ranges(&mut self, ranges: impl IntoIterator<Item = (u64, u64)>) {
        let real = |(first, last): (u64, u64)| (first.max(1) <= last).then_some((first.max(1), last));
        let held = self.ranges.len();
        self.ranges.extend(ranges.into_iter().filter_map(real));
        if self.ranges.len() == held {
            return;
        }
        self.ranges.sort();
        self.ranges.dedup_by(|next, kept| {
            let touches = next.0 <= kept.1.saturating_add(1);
            if touches {
                kept.1 = kept.1.max(next.1);
            }
            touches
        });
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

impl Extend<u64> for SerialSet {
    /// Takes serials in any order; sorted ones cost least.
    fn extend<I: IntoIterator<Item = u64>>(&mut self, serials: I) {
        self.extend_ranges(serials.into_iter().map(|serial| (serial, serial)));
    }
}

impl FromIterator<u64> for SerialSet {
    /// Takes serials in any order; sorted ones cost least.
    fn from_iter<I: IntoIterator<Item = u64>>(serials: I) -> Self {
        let mut set = Self::default();
        set.extend(serials);
        set
    }
}
