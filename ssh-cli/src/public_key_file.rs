//! A public key that is to be signed: read from a file, and refused if it is anything else.

use std::path::Path;

use ssh_key::PublicKey;

use crate::report::Failure;

/// Reads the line of a `.pub` file, or of stdin for `-`.
///
/// # Errors
/// A usage [`Failure`].
///
/// # Security
/// A private key given by mistake never leaves this function, not even in an error.
pub fn read(path: &Path) -> Result<String, Failure> {
    let shown = path.display();
    let read = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    let text = read.map_err(|error| {
        Failure::usage(format!("the public key `{shown}` cannot be read"))
            .cause(error.to_string())
            .hint("give the .pub file of a key pair")
    })?;
    if text.contains("PRIVATE KEY-----") {
        return Err(
            Failure::usage(format!("`{shown}` is a private key, which stays with you"))
                .hint("give the .pub file of the pair"),
        );
    }
    match PublicKey::from_openssh(text.trim()) {
        Ok(_) => Ok(text.trim().to_owned()),
        Err(_) => {
            Err(Failure::usage(format!("`{shown}` is not an OpenSSH public key"))
                .hint("give the .pub file of a key pair"))
        }
    }
}
