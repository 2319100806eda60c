//! How often one address may use the paths that ask for no token. The buckets are bounded: an attacker with many addresses
//! fills one shared bucket, not the memory.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::PeerAddress;

/// Addresses with a bucket of their own; each costs some 100 bytes.
const ADDRESSES_MAX: usize = 50_000;
/// The bucket shared by all addresses past [`ADDRESSES_MAX`].
const SHARED: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// Counts requests without a token, per address.
#[derive(Debug)]
pub(super) struct RateLimit {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
}

impl RateLimit {
    /// Allows `per_minute` requests a minute from one address, all at once if need be.
    pub(super) fn per_minute(per_minute: u32) -> Self {
        let quota = Quota::per_minute(NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN));
        // The limiter keeps its own monotonic clock: it measures distances only and must not jump with the wall clock.
        Self {
            limiter: RateLimiter::keyed(quota),
        }
    }

    /// Counts one request of `address`.
    ///
    /// # Errors
    /// The seconds until the next one is taken.
    pub(super) fn check(&self, address: IpAddr) -> Result<(), u64> {
        if self.limiter.len() > ADDRESSES_MAX {
            self.limiter.retain_recent();
        }
        let key = if self.limiter.len() > ADDRESSES_MAX {
            SHARED
        } else {
            PeerAddress(address).customer()
        };
        self.limiter.check_key(&key).map_err(|not_until| {
            not_until
                .wait_time_from(DefaultClock::default().now())
                .as_secs()
                .saturating_add(1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_past_its_quota_waits_and_others_do_not() {
        let limit = RateLimit::per_minute(2);
        let peer: IpAddr = "192.0.2.1".parse().unwrap();
        assert!(limit.check(peer).is_ok());
        assert!(limit.check(peer).is_ok());
        assert!((1..=31).contains(&limit.check(peer).unwrap_err()));
        assert!(limit.check("192.0.2.2".parse().unwrap()).is_ok());
    }

    #[test]
    fn one_ipv6_customer_is_one_peer() {
        let limit = RateLimit::per_minute(1);
        assert!(limit.check("2001:db8::1".parse().unwrap()).is_ok());
        assert!(limit.check("2001:db8::ffff".parse().unwrap()).is_err());
        assert!(limit.check("2001:db8:0:1::1".parse().unwrap()).is_ok());
        assert!(limit.check("::ffff:192.0.2.7".parse().unwrap()).is_ok());
        assert!(limit.check("192.0.2.7".parse().unwrap()).is_err());
    }
}
