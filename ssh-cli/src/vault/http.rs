//! How reqwest is set up: no TLS work for plain addresses, the platform's roots only when none are given, no redirects of
//! its own (they would carry the token along), time limits on everything.

use std::io::Read as _;
use std::net::ToSocketAddrs as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::blocking::{Client, ClientBuilder, RequestBuilder, Response};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::{Distrust, VaultError, Verb};
use crate::endpoint::Endpoint;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Status, body, and where a standby node points to.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) location: Option<String>,
    pub(super) etag: Option<String>,
    pub(super) retry_after_secs: Option<u64>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn read(response: Response, bytes_max: u64) -> std::io::Result<Self> {
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let location = header("location")
            .filter(|_| matches!(status, 307 | 308))
            .map(str::to_owned);
        let etag = header("etag").map(str::to_owned);
        let retry_after_secs = header("retry-after").and_then(|text| text.trim().parse().ok());
        let mut body = Vec::new();
        response.take(bytes_max + 1).read_to_end(&mut body)?;
        if u64::try_from(body.len()).is_ok_and(|length| length > bytes_max) {
            let kind = std::io::ErrorKind::FileTooLarge;
            return Err(std::io::Error::new(kind, "the answer is too long"));
        }
        Ok(Self {
            status,
            location,
            etag,
            retry_after_secs,
            body,
        })
    }
}

pub(super) fn client(endpoint: &Endpoint) -> Result<Client, VaultError> {
    let setup = |source: Box<dyn std::error::Error + Send + Sync>| VaultError::Setup {
        address: endpoint.address.clone(),
        source,
    };
    let mut builder = Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(Duration::from_secs(endpoint.timeout_secs));
    if let Some(proxy) = &endpoint.proxy {
        builder = builder.proxy(reqwest::Proxy::all(proxy).map_err(|error| setup(error.into()))?);
    }
    if endpoint.address.starts_with("https:") {
        builder = tls(builder, endpoint)?;
    } else {
        // An empty list keeps reqwest from reading the platform's roots, which costs more than the whole request.
        builder = builder.tls_certs_only(std::iter::empty());
    }
    builder.build().map_err(|error| setup(error.into()))
}

fn tls(mut builder: ClientBuilder, endpoint: &Endpoint) -> Result<ClientBuilder, VaultError> {
    let mut roots = Vec::new();
    for path in pem_files(endpoint)? {
        let pem = read(&path)?;
        let parsed = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| bad_file(&path, error))?;
        if parsed.is_empty() {
            return Err(bad_file(&path, "there is no PEM certificate in it"));
        }
        roots.extend(parsed);
    }
    if endpoint.ca_cert.is_some() || endpoint.ca_path.is_some() || endpoint.tls_skip_verify {
        builder = builder.tls_certs_only(roots);
    }
    if endpoint.tls_skip_verify {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    if let Some(cert) = &endpoint.client_cert {
        let mut pem = read(cert)?;
        if let Some(key) = &endpoint.client_key {
            pem.push(b'\n');
            pem.extend(read(key)?);
        }
        builder = builder.identity(reqwest::Identity::from_pem(&pem).map_err(|error| bad_file(cert, error))?);
    }
    if let (Some(name), Ok(url)) = (&endpoint.tls_server_name, Url::parse(&endpoint.address)) {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = url.port_or_known_default().unwrap_or(443);
        let addresses = (host, port)
            .to_socket_addrs()
            .map_err(|source| VaultError::Unreachable {
                address: endpoint.address.clone(),
                source: source.into(),
            })?;
        builder = builder.resolve_to_addrs(name, &addresses.collect::<Vec<_>>());
    }
    Ok(builder)
}

fn pem_files(endpoint: &Endpoint) -> Result<Vec<PathBuf>, VaultError> {
    // As in Vault: a file wins over a folder.
    if let Some(file) = &endpoint.ca_cert {
        return Ok(vec![file.clone()]);
    }
    let Some(folder) = &endpoint.ca_path else {
        return Ok(Vec::new());
    };
    let entries = std::fs::read_dir(folder).map_err(|error| bad_file(folder, error))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<u8>, VaultError> {
    std::fs::read(path).map_err(|error| bad_file(path, error))
}

fn bad_file(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> VaultError {
    VaultError::TlsFile {
        path: path.display().to_string(),
        source: source.into(),
    }
}

/// The request's URL. Segments are escaped one by one, so that a role named `../x` stays one segment.
pub(super) fn url(endpoint: &Endpoint, verb: Verb, path: &str) -> Result<Url, String> {
    let mut url = Url::parse(&endpoint.address).map_err(|error| error.to_string())?;
    if let Some(name) = &endpoint.tls_server_name
        && url.scheme() == "https"
    {
        url.set_host(Some(name)).map_err(|error| error.to_string())?;
    }
    let (path, query) = path
        .split_once('?')
        .map_or((path, None), |(path, query)| (path, Some(query)));
    url.set_query(query);
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if parts.iter().any(|part| matches!(*part, "." | "..")) {
        return Err(format!("`{path}` is not a path of an authority"));
    }
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().push("v1").extend(parts);
    }
    if verb == Verb::List {
        url.set_query(Some("list=true"));
    }
    Ok(url)
}

/// Where a standby node sends us; never from TLS to plain text.
pub(super) fn follow(from: &Url, location: &str) -> Result<Url, String> {
    let to = from
        .join(location)
        .map_err(|_| "it redirects to something that is no address".to_owned())?;
    match (from.scheme(), to.scheme()) {
        ("https", "https") | ("http", "http" | "https") => Ok(to),
        _ => Err(format!("it redirects from {} to {}", from.scheme(), to.scheme())),
    }
}

pub(super) fn headers(mut request: RequestBuilder, endpoint: &Endpoint) -> RequestBuilder {
    let mut all = HeaderMap::new();
    all.insert("X-Vault-Request", HeaderValue::from_static("true"));
    if let Some(value) = endpoint
        .namespace
        .as_deref()
        .and_then(|text| HeaderValue::from_str(text).ok())
    {
        all.insert("X-Vault-Namespace", value);
    }
    for (name, value) in &endpoint.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::from_str(value)) {
            all.append(name, value);
        }
    }
    if endpoint.tls_server_name.is_some()
        && let Ok(url) = Url::parse(&endpoint.address)
        && let Ok(value) = HeaderValue::from_str(url.authority())
    {
        all.insert("Host", value);
    }
    request = request.headers(all);
    request
}

/// A header that is never shown in a debug print. A token that is no header value stays out; the server then says so.
pub(super) fn secret_header(request: RequestBuilder, name: &'static str, value: &str) -> RequestBuilder {
    match HeaderValue::from_str(value) {
        Ok(mut value) => {
            value.set_sensitive(true);
            request.header(name, value)
        }
        Err(_) => request,
    }
}

/// What was wrong with the server's certificate, when the connection failed for it.
pub(super) fn distrust(error: &(dyn std::error::Error + 'static)) -> Option<Distrust> {
    let mut link = Some(error);
    while let Some(error) = link {
        if let Some(rustls::Error::InvalidCertificate(reason)) = error.downcast_ref::<rustls::Error>() {
            return Some(kind(reason));
        }
        // An io::Error carries its own inside without naming it as the source.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| distrust(inner)) {
            return Some(found);
        }
        link = error.source();
    }
    None
}

fn kind(reason: &rustls::CertificateError) -> Distrust {
    use rustls::CertificateError as Reason;
    match reason {
        Reason::NotValidForName | Reason::NotValidForNameContext { .. } => Distrust::Name,
        Reason::Expired | Reason::ExpiredContext { .. } | Reason::NotValidYet | Reason::NotValidYetContext { .. } => {
            Distrust::Time
        }
        // rustls adds reasons between its versions.
        _ => Distrust::Issuer,
    }
}
