//! Serial numbers: unique over all nodes without coordination, contiguous while a node runs so that a KRL can hold ranges, and
//! never given twice, whatever copy of its data a node is started from.

use std::fmt;

/// Number of a signing node, 0–65535; the upper 16 bits of each serial it issues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u16);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A certificate's number: node (16 bits) above that node's own number (48 bits, from 1), which counts up from where the clock
/// stood when the node started. Never 0, since OpenSSH cannot revoke serial 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(u64);

const NUMBER_BITS: u32 = 48;
/// Numbers that each millisecond of the clock has to itself: 64 of them.
const MILLISECOND_BITS: u32 = 6;

/// The first number that a node may give which starts at `now_millis` since 1970 and has a record of `last` as its newest; 0
/// for none.
///
/// A node that was put back to an older state (a restored backup, a snapshot of its disk) does not know what it has given
/// since. The clock knows a bound: numbers given before now are smaller than now's, as long as a node signs fewer than 64
/// certificates a millisecond on average. A clock that was set back changes nothing, `last` then counts; a clock beyond 2109,
/// whose numbers would have more than 48 bits, is not believed.
#[must_use]
pub const fn first_number(last: u64, now_millis: u64) -> u64 {
    let after = last.saturating_add(1);
    if now_millis >> (NUMBER_BITS - MILLISECOND_BITS) != 0 {
        return after;
    }
    let of_now = now_millis << MILLISECOND_BITS;
    if of_now > after { of_now } else { after }
}

impl Serial {
    /// Makes the serial of `node`'s certificate `number`; `None` unless `1 ≤ number < 2^48`.
    #[must_use]
    pub fn new(node: NodeId, number: u64) -> Option<Self> {
        (number > 0 && number >> NUMBER_BITS == 0).then_some(Self(u64::from(node.0) << NUMBER_BITS | number))
    }

    /// Reads a serial back from a record; `None` when its number part is 0.
    #[must_use]
    pub fn from_u64(value: u64) -> Option<Self> {
        (value & ((1 << NUMBER_BITS) - 1) != 0).then_some(Self(value))
    }

    /// The value in the certificate.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The node that issued it.
    #[must_use]
    pub fn node(self) -> NodeId {
        NodeId(u16::try_from(self.0 >> NUMBER_BITS).unwrap_or(u16::MAX))
    }

    /// The node's own number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0 & ((1 << NUMBER_BITS) - 1)
    }

    /// Vault's spelling on the wire: lower-case hexadecimal without padding.
    #[must_use]
    pub fn vault_hex(self) -> String {
        format!("{:x}", self.0)
    }
}

impl fmt::Display for Serial {
    /// Decimal, as sshd logs it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_holds_node_and_number_and_is_never_zero() {
        let serial = Serial::new(NodeId(7), 42).unwrap();
        assert_eq!((serial.node(), serial.number()), (NodeId(7), 42));
        assert_eq!(serial.to_string(), "1970324836974634");
        assert_eq!(serial.vault_hex(), "700000000002a");
        assert_eq!(Serial::new(NodeId(0), 0), None);
        assert_eq!(Serial::new(NodeId(7), 1 << 48), None);
        assert_eq!(Serial::from_u64(7 << 48), None);
    }

    #[test]
    fn a_node_begins_above_all_it_may_have_given_before() {
        let now = 1_800_000_000_000;
        for (last, millis, first, why) in [
            (
                0,
                now,
                now << 6,
                "a new ledger may be the second of a node whose first one is lost",
            ),
            ((now - 1) << 6, now, now << 6, "restored within a millisecond"),
            (
                (now << 6) + 7,
                now,
                (now << 6) + 8,
                "started twice within a millisecond",
            ),
            (now << 6, now - 3_600_000, (now << 6) + 1, "the clock was set back"),
            (41, 1 << 42, 42, "a clock beyond 2109"),
            (41, 0, 42, "no clock"),
        ] {
            assert_eq!(first_number(last, millis), first, "{why}");
            assert!(Serial::new(NodeId(1), first).is_some(), "{why}");
        }
    }
}
