//! What is larger than memory should hold: a backup, written out as it comes, and sent as it is read.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{ANSWER_BYTES_MAX, Vault, VaultError, Verb, http, refusal};

/// How long a backup may take.
const TIMEOUT: Duration = Duration::from_hours(12);
/// How an archive ends: this, 64 hex digits, and a line end (`ca-server/src/backup/archive.rs`).
const END: &[u8] = b"\nsignet backup end ";
const TRAILER_BYTES: usize = END.len() + 65;

/// How it ended.
#[derive(Debug)]
pub enum End {
    /// With the archive's last line.
    Whole {
        /// How many bytes were written.
        bytes: u64,
    },
    /// Before.
    CutOff,
    /// It could not be written here.
    Unwritable(io::Error),
}

impl Vault {
    /// Reads a backup into `out`.
    ///
    /// # Errors
    /// Any [`VaultError`] of before the first byte.
    pub fn backup(&self, out: &mut impl Write) -> Result<End, VaultError> {
        let url = http::url(&self.endpoint, Verb::Get, "sys/storage/backup").map_err(|why| self.not_vault(&why))?;
        let mut request = http::headers(self.http.get(url).timeout(TIMEOUT), &self.endpoint);
        if let Some(token) = &self.token {
            request = http::secret_header(request, "X-Vault-Token", token.expose_secret());
        }
        let mut response = request.send().map_err(|error| self.no_answer(error))?;
        if response.status().as_u16() != 200 {
            let answer = http::Answer::read(response, ANSWER_BYTES_MAX).map_err(|error| self.no_answer(error))?;
            return Err(VaultError::Refused(Box::new(refusal(&answer))));
        }
        let (mut bytes, mut chunk, mut tail) = (0, vec![0; 1 << 16], Vec::new());
        loop {
            let read = match response.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => chunk.get(..count).unwrap_or_default(),
                Err(_) => return Ok(End::CutOff),
            };
            if let Err(error) = out.write_all(read) {
                return Ok(End::Unwritable(error));
            }
            bytes += u64::try_from(read.len()).unwrap_or_default();
            tail.extend_from_slice(read);
            tail.drain(..tail.len().saturating_sub(TRAILER_BYTES));
        }
        // A proxy that gives up ends an answer as if it were whole.
        if tail.len() == TRAILER_BYTES && tail.starts_with(END) && tail.ends_with(b"\n") {
            Ok(End::Whole { bytes })
        } else {
            Ok(End::CutOff)
        }
    }

    /// Asks whether a backup that begins with `front` would be taken.
    ///
    /// # Errors
    /// Any [`VaultError`].
    pub fn check_restore(&self, front: Vec<u8>, shares: &[Zeroizing<String>]) -> Result<(), VaultError> {
        self.send_backup("sys/storage/restore?check=true", front.into(), shares)
            .map(drop)
    }

    /// Sends a backup to be restored, with the key shares that open it.
    ///
    /// # Errors
    /// Any [`VaultError`].
    pub fn restore(&self, backup: File, shares: &[Zeroizing<String>]) -> Result<Value, VaultError> {
        let body = self.send_backup("sys/storage/restore", backup.into(), shares)?;
        serde_json::from_slice(&body).map_err(|_| self.not_vault("the answer is not JSON"))
    }

    fn send_backup(
        &self,
        path: &str,
        body: reqwest::blocking::Body,
        shares: &[Zeroizing<String>],
    ) -> Result<Vec<u8>, VaultError> {
        let url = http::url(&self.endpoint, Verb::Put, path).map_err(|why| self.not_vault(&why))?;
        let mut request = http::headers(self.http.put(url).timeout(TIMEOUT), &self.endpoint)
            .header("Content-Type", "application/octet-stream")
            .body(body);
        if let Some(token) = &self.token {
            request = http::secret_header(request, "X-Vault-Token", token.expose_secret());
        }
        for share in shares {
            request = http::secret_header(request, "X-Signet-Key-Share", share);
        }
        let response = request.send().map_err(|error| self.no_answer(error))?;
        let answer = http::Answer::read(response, ANSWER_BYTES_MAX).map_err(|error| self.no_answer(error))?;
        if !(200..300).contains(&answer.status) {
            return Err(VaultError::Refused(Box::new(refusal(&answer))));
        }
        Ok(answer.body)
    }
}
