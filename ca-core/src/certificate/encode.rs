//! Lays out the fields (draft-ietf-sshm-cert, "Certificate format"). Fixed order, big-endian lengths; no library needed,
//! and a third of the cost of a general builder.

use crate::options::{OptionValue, Options};
use crate::plan::CertificatePlan;
use crate::request::CertType;
use crate::signer::SignError;

const USER: u32 = 1;
const HOST: u32 = 2;

/// Everything that the signature covers.
pub(super) fn to_be_signed(plan: &CertificatePlan, ca_key: &[u8]) -> Result<Vec<u8>, SignError> {
    let resolved = plan.resolved();
    let mut out = Writer(Vec::with_capacity(1024));
    out.string(resolved.key().kind().certificate_name().as_bytes())?;
    out.string(plan.nonce())?;
    out.bytes(key_fields(resolved.key().blob()).ok_or(SignError::ReadBack("public key"))?);
    out.u64(plan.serial().get());
    out.u32(match resolved.cert_type() {
        CertType::User => USER,
        CertType::Host => HOST,
    });
    out.string(resolved.key_id().as_str().as_bytes())?;
    out.nested(|inner| {
        resolved
            .principals()
            .iter()
            .try_for_each(|name| inner.string(name.as_str().as_bytes()))
    })?;
    out.u64(plan.validity().valid_after().secs());
    out.u64(plan.validity().valid_before().secs());
    out.nested(|inner| options(inner, resolved.critical_options()))?;
    out.nested(|inner| options(inner, resolved.extensions()))?;
    out.string(b"")?; // reserved
    out.string(ca_key)?;
    Ok(out.0)
}

/// Appends the signature as the last field.
pub(super) fn append_signature(tbs: &mut Vec<u8>, signature: &[u8]) -> Result<(), SignError> {
    let mut out = Writer(std::mem::take(tbs));
    out.string(signature)?;
    *tbs = out.0;
    Ok(())
}

/// The fields of a public key behind its type name; a certificate holds them in the same order.
fn key_fields(blob: &[u8]) -> Option<&[u8]> {
    let (length, rest) = blob.split_first_chunk::<4>()?;
    rest.get(usize::try_from(u32::from_be_bytes(*length)).ok()?..)
}

/// Options are sorted by the map that holds them. A flag's value is zero bytes, a text's a string inside a string.
fn options(out: &mut Writer, options: &Options) -> Result<(), SignError> {
    for (name, value) in options {
        out.string(name.as_bytes())?;
        match value {
            OptionValue::Flag => out.string(b"")?,
            OptionValue::Text(text) => out.nested(|inner| inner.string(text.as_bytes()))?,
        }
    }
    Ok(())
}

struct Writer(Vec<u8>);

impl Writer {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn u32(&mut self, number: u32) {
        self.bytes(&number.to_be_bytes());
    }

    fn u64(&mut self, number: u64) {
        self.bytes(&number.to_be_bytes());
    }

    fn string(&mut self, bytes: &[u8]) -> Result<(), SignError> {
        self.u32(u32::try_from(bytes.len()).map_err(|_| SignError::TooLong(bytes.len()))?);
        self.bytes(bytes);
        Ok(())
    }

    /// A string made of what `fill` writes; its length is filled in afterwards.
    fn nested(&mut self, fill: impl FnOnce(&mut Self) -> Result<(), SignError>) -> Result<(), SignError> {
        let start = self.0.len();
        self.u32(0);
        fill(self)?;
        let length = self.0.len() - start - 4;
        let bytes = u32::try_from(length)
            .map_err(|_| SignError::TooLong(length))?
            .to_be_bytes();
        if let Some(place) = self.0.get_mut(start..start + 4) {
            place.copy_from_slice(&bytes);
        }
        Ok(())
    }
}
