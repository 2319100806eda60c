//! Serial numbers: unique over all nodes without coordination, contiguous per node so that a KRL can hold ranges.

use std::fmt;

/// Number of a signing node, 0–65535; the upper 16 bits of each serial it issues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u16);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A certificate's number: node (16 bits) above the count of that node's certificates (48 bits, from 1). Never 0, since
/// OpenSSH cannot revoke serial 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(u64);

const NUMBER_BITS: u32 = 48;

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

    /// Which certificate of that node it is, counted from 1.
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
}
