//! The break-glass document: the lines of `breakglass_keys`, and the signature of a break-glass key that came before them.
//! The online authority can carry it to hosts and cannot change it.
//!
//! Three parts: the line `signet-breakglass-v1`, `authorized_keys` lines of a strict grammar (see [`Line`]), and any number of
//! armored SSH signatures over all that (`PROTOCOL.sshsig`, namespace [`NAMESPACE`]). The first document goes into images
//! with no signature; each later one is signed by a key of the one before.

mod line;
#[cfg(test)]
mod tests;

use crate::sshsig::{SshSigError, SshSignature, VerifyError};
use crate::subject_key::SubjectKey;

pub use line::{Door, Line, LineError};

/// The SSHSIG namespace of a document.
pub const NAMESPACE: &str = "breakglass.signet";
/// More than any document needs.
pub const DOCUMENT_BYTES_MAX: usize = 64 * 1024;
/// Two doors for each of two cycles, and room.
pub const LINES_MAX: usize = 16;

/// The first line of a document.
pub const HEADER: &str = "signet-breakglass-v1";
const ARMOR_BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const ARMOR_END: &str = "-----END SSH SIGNATURE-----";
const SIGNATURES_MAX: usize = 8;

/// Why a break-glass document is refused; the keys in place stay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BreakglassError {
    /// The parts are not there.
    #[error("it is not a break-glass document")]
    NotADocument,
    /// Longer than any document.
    #[error("it is longer than any break-glass document ({DOCUMENT_BYTES_MAX} bytes)")]
    TooLong,
    /// No key at all: with it in place nothing would open.
    #[error("it holds no key")]
    NoKey,
    /// More keys than anybody can keep safe.
    #[error("it holds more than {LINES_MAX} keys")]
    TooManyLines,
    /// A line that sshd could read in another way than we do.
    #[error("its key line {number} cannot be used")]
    Line {
        /// Counted from 1.
        number: usize,
        /// Why.
        #[source]
        source: LineError,
    },
    /// The same key twice: sshd takes the first, people believe the second.
    #[error("it holds the key {0} twice")]
    Twice(String),
    /// A signature's armor is broken.
    #[error("a signature in it cannot be read")]
    Signature(#[from] SshSigError),
    /// No signature at all.
    #[error("it carries no signature, so only an image can bring it to a host")]
    Unsigned,
    /// Not signed by a key in place.
    #[error("it is not signed by a break-glass key that is in place here")]
    Foreign,
    /// A key in place is named, and did not sign this.
    #[error("its signature is not right")]
    Verify(#[from] VerifyError),
}

/// A document that was read. Who signed it is another question: see [`Document::accept`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    lines: Vec<Line>,
    signatures: Vec<SshSignature>,
}

impl Document {
    /// Makes a document that nobody has signed.
    ///
    /// # Errors
    /// [`BreakglassError::NoKey`], [`BreakglassError::TooManyLines`] or [`BreakglassError::Twice`].
    pub fn new(lines: Vec<Line>) -> Result<Self, BreakglassError> {
        check(&lines)?;
        Ok(Self {
            lines,
            signatures: Vec::new(),
        })
    }

    /// Reads a document strictly: printable ASCII, no blank lines, no comments, no unknown options, nothing behind the last
    /// signature.
    ///
    /// # Errors
    /// [`BreakglassError`]; the first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, BreakglassError> {
        if text.len() > DOCUMENT_BYTES_MAX {
            return Err(BreakglassError::TooLong);
        }
        let body = text
            .strip_prefix(HEADER)
            .and_then(|rest| rest.strip_prefix('\n'))
            .ok_or(BreakglassError::NotADocument)?;
        let (lines, armors) = body.split_at(body.find(ARMOR_BEGIN).unwrap_or(body.len()));
        let document = Self {
            lines: parse_lines(lines)?,
            signatures: parse_signatures(armors)?,
        };
        // What is signed is what we would write. A text that reads the same but is written in another way has another signature.
        if document.signed_text() == format!("{HEADER}\n{lines}") {
            Ok(document)
        } else {
            Err(BreakglassError::NotADocument)
        }
    }

    /// The lines, in order.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The text of `breakglass_keys` on a host: what sshd reads.
    #[must_use]
    pub fn keys_file(&self) -> String {
        self.lines
            .iter()
            .flat_map(|line| [line.to_string(), "\n".to_owned()])
            .collect()
    }

    /// The text that is signed: header and lines.
    #[must_use]
    pub fn signed_text(&self) -> String {
        format!("{HEADER}\n{}", self.keys_file())
    }

    /// Adds a signature over [`Self::signed_text`].
    ///
    /// # Errors
    /// [`BreakglassError::Verify`] when it is not `signer`'s.
    pub fn add_signature(&mut self, signature: SshSignature, signer: &SubjectKey) -> Result<(), BreakglassError> {
        signature.verify(signer, NAMESPACE, self.signed_text().as_bytes())?;
        self.signatures.push(signature);
        Ok(())
    }

    /// The whole text.
    ///
    /// # Errors
    /// [`BreakglassError::Signature`].
    pub fn to_text(&self) -> Result<String, BreakglassError> {
        let mut text = self.signed_text();
        for signature in &self.signatures {
            text.push_str(&signature.to_armor()?);
        }
        Ok(text)
    }

    /// The keys that the signatures name, as SSH wire blobs. Not yet a statement about who signed.
    #[must_use]
    pub fn unverified_signers(&self) -> Vec<&[u8]> {
        self.signatures.iter().map(SshSignature::unverified_key_blob).collect()
    }

    /// Which of the `held` keys has signed this document.
    ///
    /// # Errors
    /// [`BreakglassError::Unsigned`], `Foreign` or `Verify`.
    ///
    /// # Security
    /// `held` are the keys of the `breakglass_keys` in place on the host, never keys out of the document. One good signature
    /// suffices, so that a document can carry those of two cycles.
    pub fn accept<'a>(&self, held: &'a [SubjectKey]) -> Result<&'a SubjectKey, BreakglassError> {
        if self.signatures.is_empty() {
            return Err(BreakglassError::Unsigned);
        }
        let text = self.signed_text();
        let mut outcome = Err(BreakglassError::Foreign);
        for signature in &self.signatures {
            let Some(signer) = held.iter().find(|key| key.blob() == signature.unverified_key_blob()) else {
                continue;
            };
            match signature.verify(signer, NAMESPACE, text.as_bytes()) {
                Ok(_) => return Ok(signer),
                Err(error) => outcome = Err(error.into()),
            }
        }
        outcome
    }
}

/// The lines of the new `breakglass_keys` file, if `document` is signed by one of the `held` keys.
///
/// # Errors
/// [`BreakglassError`]
pub fn accept(document: &str, held: &[SubjectKey]) -> Result<String, BreakglassError> {
    let document = Document::parse(document)?;
    document.accept(held)?;
    Ok(document.keys_file())
}

/// The lines of a first document, which an image brings and nobody has signed yet.
///
/// # Errors
/// [`BreakglassError`]
///
/// # Security
/// Only for whoever builds the image. A host that has keys in place uses [`accept`].
pub fn first(document: &str) -> Result<String, BreakglassError> {
    Document::parse(document).map(|document| document.keys_file())
}

/// The keys that a host's `breakglass_keys` holds: those that may sign the next document.
///
/// # Errors
/// [`BreakglassError`], as for the lines of a document.
pub fn held(keys_file: &str) -> Result<Vec<SubjectKey>, BreakglassError> {
    let lines = parse_lines(keys_file)?;
    Ok(lines.into_iter().map(Line::into_key).collect())
}

/// True when `document` brings exactly what `keys_file` holds already, so that it needs no signature and changes nothing.
///
/// # Errors
/// [`BreakglassError`], when the document cannot be read.
pub fn is_in_place(document: &str, keys_file: &str) -> Result<bool, BreakglassError> {
    Document::parse(document).map(|document| document.keys_file() == keys_file)
}

fn parse_lines(text: &str) -> Result<Vec<Line>, BreakglassError> {
    if text.len() > DOCUMENT_BYTES_MAX {
        return Err(BreakglassError::TooLong);
    }
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(BreakglassError::NotADocument);
    }
    let numbered = text.split_terminator('\n').zip(1..).take(LINES_MAX + 1);
    let parse = |(line, number)| Line::parse(line).map_err(|source| BreakglassError::Line { number, source });
    let lines = numbered.map(parse).collect::<Result<Vec<_>, _>>()?;
    check(&lines)?;
    Ok(lines)
}

fn check(lines: &[Line]) -> Result<(), BreakglassError> {
    if lines.is_empty() {
        return Err(BreakglassError::NoKey);
    }
    if lines.len() > LINES_MAX {
        return Err(BreakglassError::TooManyLines);
    }
    for (at, line) in lines.iter().enumerate() {
        if lines.iter().skip(at + 1).any(|other| other.key() == line.key()) {
            return Err(BreakglassError::Twice(line.key().fingerprint()));
        }
    }
    Ok(())
}

fn parse_signatures(text: &str) -> Result<Vec<SshSignature>, BreakglassError> {
    let mut signatures = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let ends = rest.find(ARMOR_END).ok_or(BreakglassError::NotADocument)? + ARMOR_END.len();
        let (armor, after) = rest.split_at(ends);
        if !armor.starts_with(ARMOR_BEGIN) || signatures.len() >= SIGNATURES_MAX {
            return Err(BreakglassError::NotADocument);
        }
        signatures.push(SshSignature::from_armor(armor)?);
        rest = after.strip_prefix('\n').ok_or(BreakglassError::NotADocument)?;
    }
    Ok(signatures)
}
