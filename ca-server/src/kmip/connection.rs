//! TLS to the server, with our certificate; each connection lives for one undertaking and ends at its deadline, whatever the
//! server does. The files are read at each connection, so that a renewed certificate counts at once.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{AlertDescription, ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use zeroize::Zeroizing;

use super::KmipError;
use super::message::no_kmip;
use super::ttlv::{HEADER_BYTES, message_length};
use crate::config::KmipConfig;
use crate::secret_file::{self, SecretFileError};

/// A connection after its handshake.
pub(super) struct Connection(StreamOwned<ClientConnection, Timed>);

impl Connection {
    /// Connects and shakes hands.
    ///
    /// # Errors
    /// [`KmipError`]
    pub(super) fn open(config: &KmipConfig, deadline: Instant) -> Result<Self, KmipError> {
        let tls = tls_config(config)?;
        let name = ServerName::try_from(config.server_name.clone())
            .map_err(|_| KmipError::Setup(format!("`server_name`, `{}`, is no name", config.server_name)))?;
        let client = ClientConnection::new(tls, name).map_err(|error| tls_error(&error))?;
        let socket = connect(config, deadline)?;
        // A request is written as a whole and then waited for.
        socket.set_nodelay(true).map_err(|error| io_error(&error))?;
        let mut stream = StreamOwned::new(client, Timed { socket, deadline });
        while stream.conn.is_handshaking() {
            if let Err(error) = stream.conn.complete_io(&mut stream.sock) {
                return Err(match ended(&mut stream, &error) {
                    KmipError::Unavailable(_) if is_end(&error) => KmipError::Unavailable(
                        "the server ended the TLS handshake; if it goes on doing so, it may not know the issuer of \
                         `certificate`, or it speaks no TLS 1.2 or 1.3 with AES-GCM"
                            .to_owned(),
                    ),
                    other => other,
                });
            }
        }
        Ok(Self(stream))
    }

    /// Sends a message and reads one.
    ///
    /// # Errors
    /// [`KmipError::Unavailable`] when it ends too early, [`KmipError::Refused`] when it is no KMIP.
    pub(super) fn exchange(&mut self, request: &[u8]) -> Result<Zeroizing<Vec<u8>>, KmipError> {
        if let Err(error) = self.0.write_all(request).and_then(|()| self.0.flush()) {
            return Err(ended(&mut self.0, &error));
        }
        let mut header = [0; HEADER_BYTES];
        self.0.read_exact(&mut header).map_err(|error| io_error(&error))?;
        let length = message_length(header).map_err(|error| no_kmip(&error.to_string()))?;
        let mut message = Zeroizing::new(vec![0; length]);
        if let Some((head, body)) = message.split_first_chunk_mut::<HEADER_BYTES>() {
            *head = header;
            self.0.read_exact(body).map_err(|error| io_error(&error))?;
        }
        Ok(message)
    }
}

impl Drop for Connection {
    /// Says good-bye, as TLS wants it; whoever does not hear it loses nothing.
    fn drop(&mut self) {
        self.0.conn.send_close_notify();
        drop(self.0.flush());
    }
}

/// Why it failed. In TLS 1.3 the other side may refuse our certificate while we are writing already; what it said then is still
/// to be read.
fn ended(stream: &mut StreamOwned<ClientConnection, Timed>, error: &io::Error) -> KmipError {
    if is_end(error)
        && stream.conn.read_tls(&mut stream.sock).is_ok()
        && let Err(told) = stream.conn.process_new_packets()
    {
        return tls_error(&told);
    }
    io_error(error)
}

fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof
    )
}

/// A socket that gives up at a deadline, also with somebody who sends a byte a second.
struct Timed {
    socket: TcpStream,
    deadline: Instant,
}

impl Timed {
    fn left(&self) -> io::Result<Duration> {
        left(self.deadline).ok_or_else(|| io::ErrorKind::TimedOut.into())
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(self.left()?))?;
        self.socket.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(self.left()?))?;
        self.socket.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// What is left of the time; nothing when it is over. A socket takes no time-out of zero.
fn left(deadline: Instant) -> Option<Duration> {
    deadline
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
}

fn connect(config: &KmipConfig, deadline: Instant) -> Result<TcpStream, KmipError> {
    let mut last = None;
    for address in addresses(config, deadline)? {
        let Some(left) = left(deadline) else { break };
        match TcpStream::connect_timeout(&address, left) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = Some(error),
        }
    }
    Err(io_error(&last.unwrap_or_else(|| io::ErrorKind::TimedOut.into())))
}

/// The system's resolver knows no deadline, so it works in a thread that may be left behind.
fn addresses(config: &KmipConfig, deadline: Instant) -> Result<Vec<SocketAddr>, KmipError> {
    let (done, result) = sync_channel(1);
    let (host, port) = (config.host.clone(), config.port);
    std::thread::Builder::new()
        .name("kmip-name".to_owned())
        .spawn(move || {
            // Whoever waited may have given up.
            drop(done.send((host.as_str(), port).to_socket_addrs().map(Iterator::collect)));
        })
        .map_err(|error| io_error(&error))?;
    result
        .recv_timeout(left(deadline).unwrap_or_default())
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|error| KmipError::Unavailable(format!("its name is not found: {error}")))
}

/// What the files say. TLS 1.2 and 1.3; a session is never resumed, for each is rare.
fn tls_config(config: &KmipConfig) -> Result<Arc<ClientConfig>, KmipError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca", &config.ca)? {
        roots
            .add(certificate)
            .map_err(|error| unusable("ca", &config.ca, &error))?;
    }
    let chain = certificates("certificate", &config.certificate)?;
    let key = secret_file::read(&config.key).map_err(|error| {
        let reason = error.of("the client's key file");
        match error {
            SecretFileError::Missing { .. } => KmipError::Unavailable(reason),
            _ => KmipError::Setup(reason),
        }
    })?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| unusable("key", &config.key, &error))?;
    let mut tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| tls_error(&error))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|error| KmipError::Setup(format!("`certificate` and `key` cannot be used together: {error}")))?;
    tls.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(tls))
}

/// Whether the files can be used.
///
/// # Errors
/// [`KmipError::Setup`], or [`KmipError::Unavailable`] for a file that is not there.
pub(super) fn check_files(config: &KmipConfig) -> Result<(), KmipError> {
    tls_config(config).map(drop)
}

fn certificates(setting: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, KmipError> {
    let pem = std::fs::read(path).map_err(|error| {
        let text = format!("`{setting}`, `{}`, cannot be read: {error}", path.display());
        match error.kind() {
            // It may be on a disk that comes later.
            io::ErrorKind::NotFound => KmipError::Unavailable(text),
            _ => KmipError::Setup(text),
        }
    })?;
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(setting, path, &error))?;
    if certificates.is_empty() {
        return Err(unusable(setting, path, &"no CERTIFICATE block was found"));
    }
    Ok(certificates)
}

fn unusable(setting: &str, path: &Path, error: &dyn std::fmt::Display) -> KmipError {
    KmipError::Setup(format!("`{setting}`, `{}`, cannot be used: {error}", path.display()))
}

fn io_error(error: &io::Error) -> KmipError {
    if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return tls_error(inner);
    }
    KmipError::Unavailable(match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "it did not answer within `timeout`".to_owned(),
        io::ErrorKind::UnexpectedEof => "it ended the connection before its answer was whole".to_owned(),
        _ => format!("it cannot be reached: {error}"),
    })
}

/// A certificate that either side does not accept needs somebody's hand; anything else may pass.
fn tls_error(error: &rustls::Error) -> KmipError {
    match error {
        rustls::Error::InvalidCertificate(reason) => KmipError::Refused(format!(
            "the server's certificate is not accepted: {reason}; `ca` must hold who issued it, and `server_name` be a name in it"
        )),
        rustls::Error::AlertReceived(
            AlertDescription::HandshakeFailure
            | AlertDescription::ProtocolVersion
            | AlertDescription::InsufficientSecurity,
        )
        | rustls::Error::PeerIncompatible(_) => KmipError::Refused(format!(
            "the two have no TLS in common ({error}); signet speaks TLS 1.2 and 1.3 with AES-GCM or ChaCha20-Poly1305 and ECDHE"
        )),
        rustls::Error::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
            | AlertDescription::CertificateRequired,
        ) => KmipError::Refused(format!(
            "the server does not accept our `certificate` ({error}); it must be of an issuer that the server trusts, in its time \
             and for client authentication"
        )),
        rustls::Error::PeerMisbehaved(_) | rustls::Error::InvalidMessage(_) => {
            no_kmip(&format!("its TLS is broken ({error})"))
        }
        other => KmipError::Unavailable(format!("TLS failed: {other}")),
    }
}
