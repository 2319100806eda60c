//! The wire format, in process: requests go through the whole router, without a socket.

mod desk;
mod guards;
mod hostile;
mod tokens;
mod transcripts;
