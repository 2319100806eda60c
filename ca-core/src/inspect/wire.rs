//! The certificate's bytes, field by field (`draft-ietf-sshm-cert`, RFC 4251 section 5). Lenient: it refuses only what has
//! no meaning at all.

use super::InspectError;

/// The fields as they stand, borrowed from the blob.
pub(super) struct RawCertificate<'a> {
    pub(super) algorithm: String,
    pub(super) nonce: &'a [u8],
    /// The subject key in plain SSH form, as fingerprints are made of it.
    pub(super) subject_blob: Vec<u8>,
    pub(super) serial: u64,
    pub(super) cert_type: u32,
    pub(super) key_id: &'a [u8],
    pub(super) principals: Vec<&'a [u8]>,
    pub(super) valid_after: u64,
    pub(super) valid_before: u64,
    pub(super) critical_options: Vec<RawOption<'a>>,
    pub(super) extensions: Vec<RawOption<'a>>,
    pub(super) reserved: &'a [u8],
    pub(super) ca_blob: &'a [u8],
    pub(super) signature: &'a [u8],
    pub(super) to_be_signed: &'a [u8],
    pub(super) trailing: usize,
    pub(super) size: usize,
}

/// One option: its data as it stands, and the string inside where there is exactly one.
pub(super) struct RawOption<'a> {
    pub(super) name: &'a [u8],
    pub(super) data: &'a [u8],
    pub(super) inner: Option<&'a [u8]>,
}

impl<'a> RawCertificate<'a> {
    pub(super) fn read(blob: &'a [u8]) -> Result<Self, InspectError> {
        let mut reader = Reader(blob);
        let algorithm = String::from_utf8_lossy(reader.string("type")?).into_owned();
        let (plain_type, key_fields) = key_shape(&algorithm)?;
        let nonce = reader.string("nonce")?;
        let key_start = reader.0;
        for _ in 0..key_fields {
            reader.string("subject key")?;
        }
        let key_bytes = key_start.get(..key_start.len() - reader.0.len()).unwrap_or_default();
        let serial = reader.u64("serial")?;
        let cert_type = reader.u32("certificate type")?;
        let key_id = reader.string("key ID")?;
        let principals = strings(reader.string("principals")?)?;
        let valid_after = reader.u64("valid after")?;
        let valid_before = reader.u64("valid before")?;
        let critical_options = options(reader.string("critical options")?, "critical options")?;
        let extensions = options(reader.string("extensions")?, "extensions")?;
        let reserved = reader.string("reserved field")?;
        let ca_blob = reader.string("CA key")?;
        let to_be_signed = blob.get(..blob.len() - reader.0.len()).unwrap_or_default();
        let signature = reader.string("signature")?;
        Ok(Self {
            nonce,
            subject_blob: subject_blob(plain_type, key_bytes),
            serial,
            cert_type,
            key_id,
            principals,
            valid_after,
            valid_before,
            critical_options,
            extensions,
            reserved,
            ca_blob,
            signature,
            to_be_signed,
            trailing: reader.0.len(),
            size: blob.len(),
            algorithm,
        })
    }
}

/// The plain key type and the number of string fields of its key.
fn key_shape(algorithm: &str) -> Result<(&'static str, usize), InspectError> {
    Ok(match algorithm {
        "ssh-ed25519-cert-v01@openssh.com" => ("ssh-ed25519", 1),
        "sk-ssh-ed25519-cert-v01@openssh.com" => ("sk-ssh-ed25519@openssh.com", 2),
        "ecdsa-sha2-nistp256-cert-v01@openssh.com" => ("ecdsa-sha2-nistp256", 2),
        "ecdsa-sha2-nistp384-cert-v01@openssh.com" => ("ecdsa-sha2-nistp384", 2),
        "ecdsa-sha2-nistp521-cert-v01@openssh.com" => ("ecdsa-sha2-nistp521", 2),
        "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com" => ("sk-ecdsa-sha2-nistp256@openssh.com", 3),
        "ssh-rsa-cert-v01@openssh.com" | "rsa-sha2-256-cert-v01@openssh.com" | "rsa-sha2-512-cert-v01@openssh.com" => {
            ("ssh-rsa", 2)
        }
        "ssh-dss-cert-v01@openssh.com" => ("ssh-dss", 4),
        "ssh-ed25519"
        | "ssh-rsa"
        | "ssh-dss"
        | "ecdsa-sha2-nistp256"
        | "ecdsa-sha2-nistp384"
        | "ecdsa-sha2-nistp521"
        | "sk-ssh-ed25519@openssh.com"
        | "sk-ecdsa-sha2-nistp256@openssh.com" => {
            return Err(InspectError::PublicKey(algorithm.to_owned()));
        }
        other => {
            return Err(InspectError::UnknownType(super::escape(
                &other.chars().take(64).collect::<String>(),
            )));
        }
    })
}

fn subject_blob(plain_type: &str, key_bytes: &[u8]) -> Vec<u8> {
    let mut blob = Vec::with_capacity(4 + plain_type.len() + key_bytes.len());
    blob.extend(u32::try_from(plain_type.len()).unwrap_or(0).to_be_bytes());
    blob.extend(plain_type.as_bytes());
    blob.extend(key_bytes);
    blob
}

fn strings(packed: &[u8]) -> Result<Vec<&[u8]>, InspectError> {
    let mut reader = Reader(packed);
    let mut all = Vec::new();
    while !reader.0.is_empty() {
        all.push(reader.string("principals")?);
    }
    Ok(all)
}

fn options<'a>(packed: &'a [u8], field: &'static str) -> Result<Vec<RawOption<'a>>, InspectError> {
    let mut reader = Reader(packed);
    let mut all = Vec::new();
    while !reader.0.is_empty() {
        let name = reader.string(field)?;
        let data = reader.string(field)?;
        let mut inside = Reader(data);
        let inner = inside.string(field).ok().filter(|_| inside.0.is_empty());
        all.push(RawOption { name, data, inner });
    }
    Ok(all)
}

/// The first string of a blob: a key's or signature's type.
pub(super) fn leading_string(blob: &[u8]) -> Option<&[u8]> {
    Reader(blob).string("type").ok()
}

/// The length of an RSA key's modulus; `None` for other types.
pub(super) fn rsa_bits(blob: &[u8]) -> Option<usize> {
    let mut reader = Reader(blob);
    if reader.string("type").ok()? != b"ssh-rsa" {
        return None;
    }
    reader.string("exponent").ok()?;
    let modulus = reader.string("modulus").ok()?;
    let significant = modulus
        .iter()
        .position(|byte| *byte != 0)
        .and_then(|start| modulus.get(start..))?;
    let top = significant.first()?;
    Some(significant.len() * 8 - usize::try_from(top.leading_zeros()).ok()?)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], InspectError> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(InspectError::Truncated(field))?;
        self.0 = rest;
        Ok(head)
    }

    fn u32(&mut self, field: &'static str) -> Result<u32, InspectError> {
        let bytes = self.take(4, field)?;
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn u64(&mut self, field: &'static str) -> Result<u64, InspectError> {
        let bytes = self.take(8, field)?;
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn string(&mut self, field: &'static str) -> Result<&'a [u8], InspectError> {
        let length = self.u32(field)?;
        self.take(
            usize::try_from(length).map_err(|_| InspectError::Truncated(field))?,
            field,
        )
    }
}
