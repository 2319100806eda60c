//! Which proxy to go through, by the variables that curl and Go read. Decided here and not in reqwest, because the agent that
//! makes the request has none of these variables.

use std::net::IpAddr;

use url::{Host, Url};

use crate::config::Environment;

/// The proxy for an address: `SIGNET_PROXY_ADDR` or `SIGNET_HTTP_PROXY` (and Vault's) for every address; else
/// `https_proxy`, `http_proxy` or `all_proxy` by the scheme, unless `no_proxy` names the host.
///
/// # Security
/// `HTTP_PROXY` in capitals is not read: a CGI script's caller can set it (httpoxy, CVE-2016-5385).
#[must_use]
pub fn for_address(address: &str, environment: &Environment) -> Option<String> {
    let own = environment
        .setting("PROXY_ADDR")
        .or_else(|| environment.setting("HTTP_PROXY"));
    if own.is_some() {
        return own;
    }
    let url = Url::parse(address).ok()?;
    let any_case = |name: &str| {
        environment
            .plain(name)
            .or_else(|| environment.plain(&name.to_ascii_uppercase()))
    };
    let by_scheme = if url.scheme() == "https" {
        any_case("https_proxy")
    } else {
        environment.plain("http_proxy")
    };
    let proxy = by_scheme.or_else(|| any_case("all_proxy"))?;
    if is_loopback(&url) || is_excepted(&url, &any_case("no_proxy").unwrap_or_default()) {
        return None;
    }
    Some(if proxy.contains("://") {
        proxy
    } else {
        format!("http://{proxy}")
    })
}

/// No proxy could reach this machine's own addresses.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// `no_proxy`: a comma list of `*`, names (which stand for what is under them too), addresses and networks, each with a
/// port or without.
fn is_excepted(url: &Url, list: &str) -> bool {
    let port = url.port_or_known_default();
    list.split([',', ' '])
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .any(|entry| {
            let (host, entry_port) = match entry.rsplit_once(':') {
                Some((host, number)) if !host.contains(':') || host.ends_with(']') => (host, number.parse().ok()),
                _ => (entry, None),
            };
            entry_port.is_none_or(|number: u16| Some(number) == port) && names(url, host.trim_matches(['[', ']']))
        })
}

fn names(url: &Url, entry: &str) -> bool {
    let address = match url.host() {
        Some(Host::Domain(name)) => {
            let entry = entry
                .trim_start_matches("*.")
                .trim_start_matches('.')
                .to_ascii_lowercase();
            let below = || name.strip_suffix(&entry).is_some_and(|front| front.ends_with('.'));
            return entry == "*" || name == entry || (!entry.is_empty() && below());
        }
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        None => return false,
    };
    match entry.split_once('/') {
        Some((network, bits)) => is_in(address, network, bits).unwrap_or(false),
        None => entry == "*" || entry.parse() == Ok(address),
    }
}

/// `None` when the network cannot be read, or is of the other family.
fn is_in(address: IpAddr, network: &str, bits: &str) -> Option<bool> {
    let bits: u32 = bits.parse().ok()?;
    // A shift by the whole width (a network of 0 bits) leaves nothing to differ in.
    match (address, network.parse().ok()?) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let differing = address.to_bits() ^ network.to_bits();
            Some(differing.checked_shr(32_u32.checked_sub(bits)?).unwrap_or(0) == 0)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let differing = address.to_bits() ^ network.to_bits();
            Some(differing.checked_shr(128_u32.checked_sub(bits)?).unwrap_or(0) == 0)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(address: &str, variables: &[(&str, &str)]) -> Option<String> {
        let home = tempfile::tempdir().unwrap();
        for_address(address, &Environment::for_test(variables, home.path()))
    }

    #[test]
    fn the_variables_of_curl_count_behind_our_own() {
        const CA: &str = "https://ca.example.com:8200";
        type Row = (
            &'static str,
            &'static [(&'static str, &'static str)],
            Option<&'static str>,
        );
        let rows: &[Row] = &[
            (CA, &[], None),
            (CA, &[("HTTPS_PROXY", "http://p:3128")], Some("http://p:3128")),
            (
                CA,
                &[("https_proxy", "http://low"), ("HTTPS_PROXY", "http://high")],
                Some("http://low"),
            ),
            (CA, &[("https_proxy", "p:3128")], Some("http://p:3128")),
            (CA, &[("ALL_PROXY", "http://p")], Some("http://p")),
            (CA, &[("http_proxy", "http://p")], None),
            ("http://ca", &[("http_proxy", "http://p")], Some("http://p")),
            ("http://ca", &[("HTTP_PROXY", "http://p")], None),
            (
                CA,
                &[
                    ("VAULT_PROXY_ADDR", "http://v"),
                    ("HTTPS_PROXY", "http://p"),
                    ("NO_PROXY", "*"),
                ],
                Some("http://v"),
            ),
            ("https://127.0.0.1:8200", &[("HTTPS_PROXY", "http://p")], None),
            ("https://localhost", &[("HTTPS_PROXY", "http://p")], None),
        ];
        for (address, variables, want) in rows {
            assert_eq!(chosen(address, variables).as_deref(), *want, "{address} {variables:?}");
        }
    }

    #[test]
    fn no_proxy_names_hosts_domains_addresses_and_networks() {
        let rows = [
            ("https://ca.example.com:8200", "example.com", true),
            ("https://ca.example.com:8200", ".example.com", true),
            ("https://ca.example.com:8200", "other, CA.example.com", true),
            ("https://ca.example.com:8200", "*.example.com", true),
            ("https://ca.example.com:8200", "*", true),
            ("https://ca.example.com:8200", "ca.example.com:8200", true),
            ("https://ca.example.com:8200", "ca.example.com:443", false),
            ("https://ca.example.com:8200", "ample.com", false),
            ("https://ca.example.com:8200", ".", false),
            ("https://10.1.2.3", "10.1.2.3", true),
            ("https://10.1.2.3", "10.0.0.0/8", true),
            ("https://10.1.2.3", "10.1.3.0/24", false),
            ("https://10.1.2.3", "0.0.0.0/0", true),
            ("https://10.1.2.3", "10.0.0.0/33", false),
            ("https://[fd00::1]:8200", "fd00::/8", true),
            ("https://[fd00::1]:8200", "[fd00::1]:8200", true),
            ("https://[fd00::1]:8200", "fd00::2", false),
        ];
        for (address, list, excepted) in rows {
            let variables = [("HTTPS_PROXY", "http://p"), ("NO_PROXY", list)];
            assert_eq!(chosen(address, &variables).is_none(), excepted, "{address} {list}");
        }
    }
}
