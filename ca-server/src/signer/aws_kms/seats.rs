//! How many signatures are asked for at once, and how many wait for their turn.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Seats for those who ask, and a queue before them.
#[derive(Debug)]
pub(super) struct Seats {
    free: Mutex<Free>,
    freed: Condvar,
}

#[derive(Debug)]
struct Free {
    seats: usize,
    places: usize,
}

/// A seat; it is free again when this goes.
#[derive(Debug)]
pub(super) struct Seat<'a>(&'a Seats);

impl Seats {
    pub(super) const fn new(parallel: usize, queue: usize) -> Self {
        let free = Free {
            seats: parallel,
            places: queue,
        };
        Self {
            free: Mutex::new(free),
            freed: Condvar::new(),
        }
    }

    /// Waits for a seat, and tells how much of `limit` is left; `None` when the queue is full or the time is over.
    pub(super) fn take(&self, limit: Duration) -> Option<(Seat<'_>, Duration)> {
        let begun = Instant::now();
        let mut free = self.lock();
        if free.seats == 0 {
            free.places = free.places.checked_sub(1)?;
            let waited = self.freed.wait_timeout_while(free, limit, |free| free.seats == 0);
            (free, _) = waited.unwrap_or_else(PoisonError::into_inner);
            free.places += 1;
        }
        free.seats = free.seats.checked_sub(1)?;
        drop(free);
        Some((Seat(self), limit.saturating_sub(begun.elapsed())))
    }

    fn lock(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.lock().seats += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_queue_holds_are_sent_away_at_once_and_those_in_it_when_their_time_is_over() {
        let seats = Seats::new(1, 1);
        let (seat, _) = seats.take(Duration::from_secs(9)).unwrap();
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| seats.take(Duration::from_mins(1)).is_some());
            while seats.lock().places > 0 {
                std::thread::yield_now();
            }
            assert!(seats.take(Duration::from_mins(1)).is_none(), "the queue is full");
            drop(seat);
            assert!(waiting.join().unwrap());
        });
        let _seat = seats.take(Duration::ZERO).unwrap();
        assert!(seats.take(Duration::from_millis(1)).is_none());
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}
