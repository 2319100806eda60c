//! A decrypted key, served to one ssh or ssh-keygen from memory (draft-ietf-sshm-ssh-agent): list and sign, nothing else.
//! No private key touches the disk, and the socket lies in a folder of ours alone and is gone with the value.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ed25519_dalek::Signer as _;
use ssh_key::{PrivateKey, Signature};

use crate::agent::protocol::{
    FAILURE, IDENTITIES_ANSWER, REQUEST_IDENTITIES, SIGN_REQUEST, SIGN_RESPONSE, push_string, take_string,
};
use crate::agent::socket::{is_own, listen, spawn};
use crate::frame;

/// The socket and what stands behind it.
#[derive(Debug)]
pub struct MemoryAgent {
    path: PathBuf,
    stopped: Arc<AtomicBool>,
}

impl MemoryAgent {
    /// Serves the key at a socket, until the value is dropped.
    ///
    /// # Errors
    /// The system's.
    pub fn serve(path: PathBuf, key: PrivateKey) -> std::io::Result<Self> {
        let listener = listen(&path)?;
        let stopped = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stopped);
        spawn("break-glass agent", move || accept(&listener, &key, &flag))?;
        Ok(Self { path, stopped })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for MemoryAgent {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread, which sits in accept() and owns the key.
        drop(UnixStream::connect(&self.path));
        drop(std::fs::remove_file(&self.path));
    }
}

/// One connection after the other: there is one ssh.
fn accept(listener: &UnixListener, key: &PrivateKey, stopped: &AtomicBool) {
    for stream in listener.incoming() {
        if stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(mut stream) = stream else { continue };
        if !is_own(&stream) {
            continue;
        }
        while let Ok(Some(request)) = frame::read(&mut stream) {
            let answer = answer(&request, key).unwrap_or_else(|| vec![FAILURE]);
            if frame::write(&mut stream, &answer).is_err() {
                break;
            }
        }
    }
}

fn answer(request: &[u8], key: &PrivateKey) -> Option<Vec<u8>> {
    let own = key.public_key().to_bytes().ok()?;
    match request.split_first()? {
        (&REQUEST_IDENTITIES, _) => {
            let mut answer = vec![IDENTITIES_ANSWER];
            answer.extend(1_u32.to_be_bytes());
            push_string(&mut answer, &own);
            push_string(&mut answer, b"break-glass");
            Some(answer)
        }
        (&SIGN_REQUEST, body) => {
            let (blob, rest) = take_string(body)?;
            let (data, flags) = take_string(rest)?;
            // With a certificate, ssh names the certificate's blob; the key inside it is what signs.
            if flags.len() != 4 || !(blob == own || is_certificate_of(blob, key)) {
                return None;
            }
            let signature: Signature = key.try_sign(data).ok()?;
            let mut answer = vec![SIGN_RESPONSE];
            push_string(&mut answer, &Vec::<u8>::try_from(signature).ok()?);
            Some(answer)
        }
        _ => None,
    }
}

fn is_certificate_of(blob: &[u8], key: &PrivateKey) -> bool {
    ssh_key::Certificate::from_bytes(blob)
        .is_ok_and(|certificate| certificate.public_key() == key.public_key().key_data())
}
