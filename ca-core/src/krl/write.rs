//! Lays a list out.

use super::Krl;

pub(super) fn encode(krl: &Krl) -> Vec<u8> {
    let _unfinished = krl;
    Vec::new()
}
