//! The break-glass document: the lines of `breakglass_keys`, and the signature of a break-glass key that came before them.
//! The online authority can carry it to hosts and cannot change it.

use crate::subject_key::SubjectKey;

/// The first line of a document.
pub const HEADER: &str = "signet-breakglass-v1";

/// Why a break-glass document is refused; the keys in place stay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BreakglassError {
    /// The parts are not there.
    #[error("it is not a break-glass document")]
    NotADocument,
    /// Not signed by a key in place.
    #[error("it is not signed by a break-glass key that is in place here")]
    Foreign,
}

/// The lines of the new `breakglass_keys` file, if `document` is signed by one of the `held` keys.
///
/// # Errors
/// [`BreakglassError`]
pub fn accept(document: &str, held: &[SubjectKey]) -> Result<String, BreakglassError> {
    let _unfinished = (document, held);
    Err(BreakglassError::NotADocument)
}
