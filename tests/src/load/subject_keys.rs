//! Subject keys for the requests of a run: real Ed25519 public keys, made beforehand so that the measured window holds
//! no key generation.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Makes public-key lines, each of a key pair of its own.
pub fn make(count: usize) -> Vec<String> {
    (0..count)
        .map(|_| line(Ed25519KeyPair::generate().expect("a key").public_key().as_ref()))
        .collect()
}

fn line(public: &[u8]) -> String {
    let mut blob = Vec::with_capacity(51);
    for field in [b"ssh-ed25519".as_slice(), public] {
        blob.extend(u32::try_from(field.len()).expect("a short field").to_be_bytes());
        blob.extend(field);
    }
    format!("ssh-ed25519 {}", STANDARD.encode(blob))
}

#[cfg(test)]
mod tests {
    #[test]
    fn made_keys_are_public_keys_and_differ() {
        let keys = super::make(2);
        assert!(ssh_key::PublicKey::from_openssh(&keys[0]).is_ok());
        assert_ne!(keys[0], keys[1]);
    }
}
