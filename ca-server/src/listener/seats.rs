//! Who holds how many connections. There are so many for everybody, and a part of them for one address, so that nobody
//! without a token can hold them all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::http::PeerAddress;

/// One address holds at most this part of all connections: the office behind one address is served, and it takes an
/// attacker several to lock the others out.
const PART_OF_ONE_ADDRESS: usize = 4;
/// Fewer than this a single client may need.
const LEAST_FOR_ONE_ADDRESS: usize = 8;

/// The connections that are to be had.
#[derive(Debug)]
pub(super) struct Seats {
    most: usize,
    most_of_one: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_customer: HashMap<IpAddr, usize>,
}

/// One connection's place, free again when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    customer: IpAddr,
}

impl Seats {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            most_of_one: (most / PART_OF_ONE_ADDRESS).max(LEAST_FOR_ONE_ADDRESS),
            taken: Mutex::default(),
        })
    }

    /// A place for a connection from `address`, if there is one.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let customer = PeerAddress(address).customer();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.by_customer.get(&customer).copied().unwrap_or(0);
        if taken.all >= self.most || own >= self.most_of_one {
            return None;
        }
        taken.all += 1;
        taken.by_customer.insert(customer, own + 1);
        Some(Seat {
            seats: Arc::clone(self),
            customer,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
        match taken.by_customer.get_mut(&self.customer) {
            Some(own) if *own > 1 => *own -= 1,
            _ => {
                taken.by_customer.remove(&self.customer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(seats: &Arc<Seats>, address: &str, times: usize) -> Vec<Seat> {
        let address = address.parse().unwrap();
        (0..times).map_while(|_| seats.take(address)).collect()
    }

    #[test]
    fn one_address_cannot_hold_every_connection() {
        let seats = Seats::new(100);
        let hoarder = taken(&seats, "192.0.2.1", 100);
        assert_eq!(hoarder.len(), 25);
        let spread: usize = (0..100)
            .map(|n| taken(&seats, &format!("2001:db8::{n:x}"), 100).len())
            .max()
            .unwrap();
        assert_eq!(spread, 25, "one customer's addresses are one");
        let other = taken(&seats, "192.0.2.2", 1);
        assert_eq!(other.len(), 1);
        drop(hoarder);
        assert_eq!(taken(&seats, "192.0.2.1", 1).len(), 1);
    }

    #[test]
    fn there_are_never_more_than_all_and_none_is_lost() {
        let seats = Seats::new(10);
        let held: Vec<_> = (0..100)
            .flat_map(|n| taken(&seats, &format!("192.0.2.{n}"), 3))
            .collect();
        assert_eq!(held.len(), 10);
        drop(held);
        let taken = seats.taken.lock().unwrap();
        assert!(taken.all == 0 && taken.by_customer.is_empty());
    }
}
