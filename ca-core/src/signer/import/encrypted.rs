//! Private keys behind a passphrase. What opening one costs lies in the file, so it is looked at before anything is done:
//! whoever sends a file must not decide how long a server works on it.

use pkcs8::der::asn1::OctetStringRef;
use pkcs8::der::{Reader as _, SliceReader};
use pkcs8::pkcs5::pbes2::Kdf;
use pkcs8::pkcs5::{EncryptionScheme, Error as Pkcs5Error};
use pkcs8::spki::AlgorithmIdentifierRef;
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};
use ssh_encoding::Decode as _;
use ssh_key::{Cipher, Kdf as OpensshKdf, PrivateKey};
use zeroize::Zeroizing;

use super::{ImportError, SoftwareKey, from_pkcs8};

/// ssh-keygen takes 16 or 24; `-a 100` and more are often advised.
const BCRYPT_ROUNDS_MAX: u64 = 1024;
/// OpenSSL takes 2048; OWASP advised 600,000 in 2023 (1,300,000 with SHA-1).
const PBKDF2_ITERATIONS_MAX: u64 = 2_000_000;
/// OpenSSL takes 16 MiB.
const SCRYPT_BYTES_MAX: u64 = 64 << 20;
/// N times r times p; OpenSSL takes 2^17.
const SCRYPT_STEPS_MAX: u64 = 1 << 22;

/// Reads a key in OpenSSH's format, opening it if it is encrypted (OpenSSH's PROTOCOL.key).
pub(super) fn openssh(bytes: &[u8], passphrase: Option<&str>) -> Result<PrivateKey, ImportError> {
    let key = PrivateKey::from_bytes(bytes).map_err(|_| unreadable(bytes))?;
    if !key.is_encrypted() {
        return match passphrase {
            None => Ok(key),
            Some(_) => Err(ImportError::NotEncrypted),
        };
    }
    match key.kdf() {
        OpensshKdf::Bcrypt { rounds, .. } => within("bcrypt rounds", u64::from(*rounds), BCRYPT_ROUNDS_MAX)?,
        // Encrypted, but under no passphrase: nobody writes such a file.
        _ => return Err(ImportError::Damaged),
    }
    let passphrase = passphrase.ok_or(ImportError::Encrypted)?;
    key.decrypt(passphrase).map_err(|error| match error {
        // Opened, and its two halves are of different keys.
        ssh_key::Error::PublicKey => ImportError::Damaged,
        _ => ImportError::Passphrase,
    })
}

/// What keeps a file in OpenSSH's format from being read: a cipher or key derivation that nobody knows, or damage.
fn unreadable(bytes: &[u8]) -> ImportError {
    const MAGIC: &[u8] = b"openssh-key-v1\0";
    let words = bytes.strip_prefix(MAGIC).and_then(|mut rest| {
        let cipher = String::decode(&mut rest).ok()?;
        Some((cipher, String::decode(&mut rest).ok()?))
    });
    let is_word = |word: &str| word.len() <= 64 && word.bytes().all(|byte| byte.is_ascii_graphic());
    match words {
        Some((cipher, _)) if is_word(&cipher) && Cipher::new(&cipher).is_err() => {
            ImportError::Encryption(format!("the cipher `{cipher}`"))
        }
        Some((_, kdf)) if is_word(&kdf) && !matches!(kdf.as_str(), "none" | "bcrypt") => {
            ImportError::Encryption(format!("the key derivation `{kdf}`"))
        }
        _ => ImportError::Damaged,
    }
}

/// Reads an encrypted PKCS#8: PBES2 (RFC 8018) of AES under PBKDF2 or scrypt (RFC 7914).
pub(super) fn pkcs8(der: &[u8], passphrase: Option<&str>) -> Result<SoftwareKey, ImportError> {
    let info = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|_| unknown(der))?;
    let EncryptionScheme::Pbes2(scheme) = &info.encryption_algorithm else {
        return Err(ImportError::Encryption("PBES1".to_owned()));
    };
    affordable(&scheme.kdf)?;
    let passphrase = passphrase.ok_or(ImportError::Encrypted)?;
    let mut buffer = Zeroizing::new(info.encrypted_data.as_bytes().to_vec());
    let plain = scheme
        .decrypt_in_place(passphrase, &mut buffer)
        .map_err(|error| match error {
            Pkcs5Error::AlgorithmParametersInvalid { .. } | Pkcs5Error::UnsupportedAlgorithm { .. } => parameters(),
            _ => ImportError::Passphrase,
        })?;
    // One wrong passphrase of some 256 makes a padding that looks right, and then no key.
    if PrivateKeyInfoRef::try_from(plain).is_err() {
        return Err(ImportError::Passphrase);
    }
    from_pkcs8(plain)
}

fn affordable(kdf: &Kdf) -> Result<(), ImportError> {
    match kdf {
        Kdf::Pbkdf2(of) => within(
            "PBKDF2 iterations",
            u64::from(of.iteration_count),
            PBKDF2_ITERATIONS_MAX,
        ),
        Kdf::Scrypt(of) => {
            // The library counts its bits and does not expect that there are none.
            if !of.cost_parameter.is_power_of_two() || of.cost_parameter < 2 {
                return Err(parameters());
            }
            let blocks = of.cost_parameter.saturating_mul(u64::from(of.block_size));
            within(
                "bytes of memory for scrypt",
                blocks.saturating_mul(128),
                SCRYPT_BYTES_MAX,
            )?;
            // It holds as much for each of its p runs besides, and N may be small.
            let runs = u64::from(of.block_size).saturating_mul(u64::from(of.parallelization));
            within("bytes of memory for scrypt", runs.saturating_mul(128), SCRYPT_BYTES_MAX)?;
            let steps = blocks.saturating_mul(u64::from(of.parallelization));
            within("steps of scrypt (N*r*p)", steps, SCRYPT_STEPS_MAX)
        }
        _ => Err(parameters()),
    }
}

fn within(unit: &'static str, found: u64, most: u64) -> Result<(), ImportError> {
    if found <= most {
        Ok(())
    } else {
        Err(ImportError::Cost { unit, found, most })
    }
}

fn parameters() -> ImportError {
    ImportError::Encryption("PBES2 with other parameters than AES, PBKDF2 and scrypt have".to_owned())
}

/// What keeps an encrypted PKCS#8 from being read: a scheme that is not known, or damage.
fn unknown(der: &[u8]) -> ImportError {
    let outer = SliceReader::new(der).and_then(|mut reader| {
        let oid = reader.sequence(|inner| {
            let scheme: AlgorithmIdentifierRef<'_> = inner.decode()?;
            inner.decode::<&OctetStringRef>()?;
            Ok::<_, pkcs8::der::Error>(scheme.oid)
        })?;
        reader.finish()?;
        Ok(oid)
    });
    match outer {
        Ok(oid) if oid == pkcs8::pkcs5::pbes2::PBES2_OID => parameters(),
        Ok(oid) => ImportError::Encryption(format!("a scheme other than PBES2 (object identifier {oid})")),
        Err(_) => ImportError::Damaged,
    }
}
