//! `source-address`: the networks from which a certificate may be used.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

/// A list of networks that sshd reads as meant.
///
/// sshd refuses the whole certificate over one bad entry: a host bit that is set, a space, a name, a wildcard, an empty
/// list. It never matches `::ffff:a.b.c.d`, so such networks are written as IPv4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceAddresses(Vec<IpNet>);

/// Why a text is no list of networks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceAddressError {
    /// Nothing in the list.
    #[error("it names no network")]
    Empty,
    /// Not a network.
    #[error("`{0}` is not a network: write it like 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32, without spaces")]
    NotANetwork(String),
    /// Bits set behind the prefix, which OpenSSH refuses.
    #[error("`{given}` has host bits set: write {network}")]
    HostBits {
        /// As written.
        given: String,
        /// As it should be.
        network: String,
    },
}

impl SourceAddresses {
    /// Reads a comma-separated list of addresses and networks.
    ///
    /// # Errors
    /// [`SourceAddressError`] for the first entry that sshd would refuse or misread.
    pub fn parse(text: &str) -> Result<Self, SourceAddressError> {
        if text.is_empty() {
            return Err(SourceAddressError::Empty);
        }
        text.split(',')
            .map(parse_network)
            .collect::<Result<Vec<_>, _>>()
            .map(Self)
    }

    /// Whether an address is in one of the networks.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

fn parse_network(text: &str) -> Result<IpNet, SourceAddressError> {
    let wrong = || SourceAddressError::NotANetwork(text.to_owned());
    let network = if text.contains('/') {
        text.parse::<IpNet>().map_err(|_| wrong())?
    } else {
        IpNet::from(text.parse::<IpAddr>().map_err(|_| wrong())?)
    };
    let network = as_ipv4_where_mapped(network);
    if network.trunc() == network {
        Ok(network)
    } else {
        Err(SourceAddressError::HostBits {
            given: text.to_owned(),
            network: network.trunc().to_string(),
        })
    }
}

fn as_ipv4_where_mapped(network: IpNet) -> IpNet {
    const MAPPED_PREFIX: u8 = 96;
    let IpNet::V6(v6) = network else { return network };
    let v4: Option<Ipv4Addr> = v6.addr().to_ipv4_mapped();
    match (v4, v6.prefix_len().checked_sub(MAPPED_PREFIX)) {
        (Some(address), Some(prefix)) => Ipv4Net::new(address, prefix).map_or(network, IpNet::V4),
        _ => network,
    }
}

impl fmt::Display for SourceAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, network) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{network}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_looked_for_in_every_network() {
        let list = SourceAddresses::parse("10.0.0.0/8,2001:db8::/32").unwrap();
        for (address, want) in [("10.9.9.9", true), ("2001:db8::1", true), ("11.0.0.1", false)] {
            assert_eq!(list.contains(address.parse().unwrap()), want, "{address}");
        }
    }

    #[test]
    fn lists_are_written_as_sshd_reads_them() {
        let rows = [
            ("10.0.0.0/8", Ok("10.0.0.0/8")),
            ("192.0.2.7", Ok("192.0.2.7/32")),
            ("2001:db8::/32,10.0.0.0/8", Ok("2001:db8::/32,10.0.0.0/8")),
            ("::ffff:127.0.0.1", Ok("127.0.0.1/32")),
            ("::ffff:10.0.0.0/104", Ok("10.0.0.0/8")),
            ("10.0.0.1/8", Err("`10.0.0.1/8` has host bits set: write 10.0.0.0/8")),
            ("", Err("it names no network")),
            (
                "10.0.0.0/33",
                Err(
                    "`10.0.0.0/33` is not a network: write it like 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32, without spaces",
                ),
            ),
        ];
        for (text, want) in rows {
            let got = SourceAddresses::parse(text)
                .map(|list| list.to_string())
                .map_err(|error| error.to_string());
            assert_eq!(got, want.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
        for bad in [
            "localhost",
            "10.0.0.*",
            "!10.0.0.0/8",
            "10.0.0.0/8, 10.1.0.0/16",
            "10.0.0.0/8,",
            " 10.0.0.1",
            "010.0.0.1",
        ] {
            assert!(SourceAddresses::parse(bad).is_err(), "{bad}");
        }
    }
}
