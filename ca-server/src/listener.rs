//! Accepts connections and serves HTTP on them: one current-thread runtime per core, each with a socket of its own on the
//! same port, so that no connection ever moves between cores. Every limit on a peer that can be enforced before a request
//! exists is enforced here.

mod seats;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tower::Service as _;

use self::seats::Seats;
use crate::config::Limits;
use crate::http::PeerAddress;
use crate::metrics::Metrics;

const BACKLOG: i32 = 1024;
const HEADERS_MAX: usize = 64;
const HTTP2_STREAMS_MAX: u32 = 128;
/// After this long without a request an HTTP/2 connection is closed; for HTTP/1 the time for a request's head does that.
const HTTP2_IDLE: Duration = Duration::from_mins(1);

/// Sockets that are bound and not yet served.
#[derive(Debug)]
pub struct Listener {
    sockets: Vec<std::net::TcpListener>,
    address: SocketAddr,
    sealings: Option<watch::Receiver<u64>>,
}

/// Threads that serve until shutdown.
#[derive(Debug)]
pub struct Serving {
    threads: Vec<JoinHandle<()>>,
}

/// What the serving threads share.
struct Shared {
    router: Router,
    tls: Option<Arc<ServerConfig>>,
    limits: Limits,
    metrics: Metrics,
    seats: Arc<Seats>,
}

impl Listener {
    /// Binds one socket per core to `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// The system's, when the address cannot be had.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        must_be_free(address)?;
        let first = bind_one(address)?;
        let address = first.local_addr()?;
        let mut sockets = vec![first];
        for _ in 1..cores {
            sockets.push(bind_one(address)?);
        }
        Ok(Self {
            sockets,
            address,
            sealings: None,
        })
    }

    /// Lets go of every connection, after the answers that are due, whenever this changes: buffers and header tables of a
    /// connection hold what was last read from it, tokens and imported keys too.
    #[must_use]
    pub fn letting_go_at(mut self, sealings: watch::Receiver<u64>) -> Self {
        self.sealings = Some(sealings);
        self
    }

    /// The address with its real port.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves `router` on one thread per core until `shutdown` turns true; then no connection is accepted any more, and
    /// those in flight get [`Limits::drain_secs`].
    ///
    /// # Errors
    /// The system's, when a thread or its runtime cannot be made.
    pub fn serve(
        self,
        router: Router,
        tls: Option<Arc<ServerConfig>>,
        limits: &Limits,
        metrics: &Metrics,
        shutdown: &watch::Receiver<bool>,
    ) -> io::Result<Serving> {
        let shared = Arc::new(Shared {
            router,
            tls,
            limits: limits.clone(),
            metrics: metrics.clone(),
            seats: Seats::new(limits.connections_max),
        });
        let mut threads = Vec::with_capacity(self.sockets.len());
        for (core, socket) in self.sockets.into_iter().enumerate() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (shared, shutdown, sealings) = (Arc::clone(&shared), shutdown.clone(), self.sealings.clone());
            let thread = std::thread::Builder::new()
                .name(format!("serve-{core}"))
                .spawn(move || {
                    runtime.block_on(serve_core(socket, shared, shutdown, sealings));
                    // What still blocks (an RSA signature) has had its time; its answer has nobody left to go to.
                    runtime.shutdown_timeout(Duration::from_secs(1));
                })?;
            threads.push(thread);
        }
        Ok(Serving { threads })
    }
}

impl Serving {
    /// Waits until every thread is done.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a serving thread ended by a panic");
            }
        }
    }
}

/// Sockets of the same user share a port with `SO_REUSEPORT` and get every other connection each: two servers on one address
/// would take turns, so the address must be free of anybody else first.
fn must_be_free(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

fn bind_one(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

async fn serve_core(
    socket: std::net::TcpListener,
    shared: Arc<Shared>,
    mut shutdown: watch::Receiver<bool>,
    mut sealings: Option<watch::Receiver<u64>>,
) {
    let listener = match TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a listening socket cannot be used"),
    };
    let mut graceful = GracefulShutdown::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => accept(stream, peer, &shared, graceful.watcher()),
                // Out of file descriptors, most often: leave the others time to close.
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            () = next_sealing(&mut sealings) => {
                let before = std::mem::take(&mut graceful);
                tokio::spawn(before.shutdown());
            }
            _ = shutdown.wait_for(|down| *down) => break,
        }
    }
    drop(listener);
    let drain = Duration::from_secs(shared.limits.drain_secs);
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!(
            secs = shared.limits.drain_secs,
            "connections were still busy after the drain time and are cut"
        );
    }
}

async fn next_sealing(sealings: &mut Option<watch::Receiver<u64>>) {
    let Some(sealings) = sealings else {
        return std::future::pending().await;
    };
    if sealings.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Takes a connection if there is room for one; everything slow happens in its own task.
fn accept(stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>, watcher: Watcher) {
    let Some(seat) = shared.seats.take(peer.ip()) else {
        shared.metrics.connection_refused();
        return;
    };
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY cannot be set");
        }
        shared.metrics.connection_opened();
        serve_connection(stream, peer, &shared, watcher).await;
        shared.metrics.connection_closed();
        drop(seat);
    });
}

async fn serve_connection(stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>, watcher: Watcher) {
    let Some(tls) = &shared.tls else {
        return serve_http1(stream, peer, shared, watcher).await;
    };
    let handshake = TlsAcceptor::from(Arc::clone(tls)).accept(stream);
    let timeout = Duration::from_secs(shared.limits.header_timeout_secs);
    match tokio::time::timeout(timeout, handshake).await {
        Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
            serve_http2(stream, peer, shared, watcher).await;
        }
        Ok(Ok(stream)) => serve_http1(stream, peer, shared, watcher).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "the TLS handshake failed"),
        Err(_) => tracing::debug!(%peer, "the TLS handshake took too long"),
    }
}

async fn serve_http1(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    shared: &Arc<Shared>,
    watcher: Watcher,
) {
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(shared.limits.header_timeout_secs))
        .max_buf_size(shared.limits.header_bytes_max)
        .max_headers(HEADERS_MAX);
    let answer = |request| answer(request, peer, shared);
    let connection = http.serve_connection(TokioIo::new(stream), service_fn(answer));
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%peer, %error, "the connection ended early");
    }
}

async fn serve_http2(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    shared: &Arc<Shared>,
    watcher: Watcher,
) {
    let mut http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(shared.limits.header_bytes_max).unwrap_or(u32::MAX))
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(shared.limits.header_timeout_secs));
    let owned = Arc::clone(shared);
    let traffic = Arc::new(Traffic::default());
    let counted = Arc::clone(&traffic);
    let answer = move |request| {
        let (shared, traffic) = (Arc::clone(&owned), Arc::clone(&counted));
        async move {
            let _under_way = traffic.begin();
            answer(request, peer, &shared).await
        }
    };
    let connection = http.serve_connection(TokioIo::new(stream), service_fn(answer));
    tokio::select! {
        ended = watcher.watch(connection) => if let Err(error) = ended {
            tracing::debug!(%peer, %error, "the connection ended early");
        },
        () = traffic.ceases(HTTP2_IDLE) => tracing::debug!(%peer, "the connection was idle and is closed"),
    }
}

/// The requests of one connection. A peer that only answers pings must not keep its place.
#[derive(Debug, Default)]
struct Traffic {
    begun: AtomicUsize,
    ended: AtomicUsize,
}

struct UnderWay<'a>(&'a Traffic);

impl Traffic {
    fn begin(&self) -> UnderWay<'_> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        UnderWay(self)
    }

    /// Returns when no request was under way for `idle`, or up to twice as long.
    async fn ceases(&self, idle: Duration) {
        let mut before = usize::MAX;
        loop {
            let (ended, begun) = (self.ended.load(Ordering::SeqCst), self.begun.load(Ordering::SeqCst));
            if begun == ended && begun == before {
                return;
            }
            before = begun;
            tokio::time::sleep(idle).await;
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}

/// One request, in the time it has. The peer's address is the socket's; headers that claim another are not looked at.
async fn answer(
    mut request: Request<Incoming>,
    peer: SocketAddr,
    shared: &Shared,
) -> Result<Response<Body>, std::convert::Infallible> {
    request.extensions_mut().insert(PeerAddress(peer.ip().to_canonical()));
    let longest = crate::http::longest_secs(request.uri().path());
    let timeout = Duration::from_secs(shared.limits.request_timeout_secs.max(longest));
    match tokio::time::timeout(timeout, shared.router.clone().call(request)).await {
        Ok(response) => response,
        Err(_) => Ok(too_slow()),
    }
}

fn too_slow() -> Response<Body> {
    const BODY: &str = "{\"errors\":[\"the request took too long\"],\"code\":\"timeout\"}\n";
    let mut response = Response::new(Body::from(BODY));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_idle_only_without_requests() {
        const IDLE: Duration = Duration::from_millis(10);
        let traffic = Traffic::default();
        let under_way = traffic.begin();
        let waited = tokio::time::timeout(IDLE * 5, traffic.ceases(IDLE)).await;
        assert!(waited.is_err(), "a long request is no idleness");
        drop(under_way);
        traffic.ceases(IDLE).await;
    }

    #[test]
    fn a_second_server_on_one_address_is_refused() {
        let first = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = Listener::bind(first.local_addr()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let address = first.local_addr();
        drop(first);
        Listener::bind(address).unwrap();
    }
}
