//! Driving the authority hard and measuring what it costs: kept TLS connections, a fresh subject key in each request, the
//! server's own CPU time, and the cost of one bare signature in the same run as the unit.

pub mod connection;
pub mod drive;
pub mod meter;
pub mod subject_keys;
pub mod timing;
pub mod world;
