//! One kept HTTP/1.1 connection, over TLS or plain. Hand-laid, because the generator shares two cores with the server
//! that it measures: a general client costs as much again.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What a connection reads and writes.
trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// A connection that is kept between requests.
pub struct Connection {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Connection").finish_non_exhaustive()
    }
}

/// Where to connect.
#[derive(Debug, Clone)]
pub struct Target {
    /// A loopback port.
    pub port: u16,
    /// TLS settings; none for plain HTTP.
    pub tls: Option<Arc<ClientConfig>>,
}

impl Target {
    /// A TLS server on this port, whoever it says it is.
    pub fn tls(port: u16) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone))
            .with_no_client_auth();
        Self {
            port,
            tls: Some(Arc::new(config)),
        }
    }
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn open(target: &Target) -> std::io::Result<Self> {
        let plain = TcpStream::connect(("127.0.0.1", target.port)).await?;
        plain.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match &target.tls {
            None => Box::new(plain),
            Some(config) => {
                let name = ServerName::try_from("127.0.0.1").expect("an address");
                Box::new(TlsConnector::from(config.clone()).connect(name, plain).await?)
            }
        };
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(4096),
        })
    }

    /// Sends one complete request and gives the status and the body of the answer.
    ///
    /// # Errors
    /// The connection broke, or the answer has no length.
    pub async fn exchange(&mut self, request: &[u8]) -> std::io::Result<(u16, &[u8])> {
        let (head, body) = self.roundtrip(request).await?;
        let text = std::str::from_utf8(&self.buffer[..head]).map_err(std::io::Error::other)?;
        let (status, _) = parse_head(text).ok_or_else(|| std::io::Error::other(format!("answer: {text}")))?;
        Ok((status, &self.buffer[body]))
    }

    /// Where in the buffer the answer's head ends, and where its body lies.
    async fn roundtrip(&mut self, request: &[u8]) -> std::io::Result<(usize, std::ops::Range<usize>)> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        self.buffer.clear();
        let head = loop {
            if let Some(head) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break head;
            }
            self.fill().await?;
        };
        let text = std::str::from_utf8(&self.buffer[..head]).map_err(std::io::Error::other)?;
        let (status, length) = parse_head(text).ok_or_else(|| std::io::Error::other(format!("answer: {text}")))?;
        let body = head + 4;
        // RFC 9110, "304 Not Modified": its length is that of the body which is not sent.
        let length = if status == 304 { 0 } else { length };
        while self.buffer.len() < body + length {
            self.fill().await?;
        }
        Ok((head, body..body + length))
    }

    /// As [`Self::exchange`], with the whole head of the answer; one with status 304 has no body.
    ///
    /// # Errors
    /// The connection broke, or the answer has no length.
    pub async fn exchange_all(&mut self, request: &[u8]) -> std::io::Result<(String, Vec<u8>)> {
        let (head, body) = self.roundtrip(request).await?;
        let text = std::str::from_utf8(&self.buffer[..head]).map_err(std::io::Error::other)?;
        Ok((text.to_owned(), self.buffer[body].to_vec()))
    }

    async fn fill(&mut self) -> std::io::Result<()> {
        let read = self.stream.read_buf(&mut self.buffer).await?;
        if read == 0 {
            Err(std::io::ErrorKind::UnexpectedEof.into())
        } else {
            Ok(())
        }
    }
}

fn parse_head(text: &str) -> Option<(u16, usize)> {
    let status = text.split(' ').nth(1)?.parse().ok()?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    Some((status, length.unwrap_or(0)))
}

/// The bytes of a POST with a JSON body.
pub fn post(path: &str, token: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /v1/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Vault-Token: {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A verifier for measurements on loopback: the run is about cost, the client's own tests are about trust.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
