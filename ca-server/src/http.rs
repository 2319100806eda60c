//! The HTTP edge: Vault's wire format over [`table::ROUTES`]. The road of a request is [`answer`]: path, route, caller,
//! permit, body, handler. Nothing outside this module knows HTTP, and nothing in it decides who may do what.

pub mod ask;
pub mod authenticate;
pub mod body;
pub mod envelope;
pub mod path;
pub mod problem;
mod rate_limit;
mod routes;
mod stream;
pub mod table;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::request::Parts;
use signet_core::time::UnixTime;
use signet_core::vault_value::Fields;
use zeroize::Zeroizing;

use self::ask::{Ask, NodeAsk};
use self::authenticate::Session;
use self::envelope::Reply;
use self::problem::Problem;
use self::rate_limit::RateLimit;
use self::table::{Endpoint, Keyholder, Op, Open, Place, Policy, Route};
use crate::authority::Authority;
use crate::ledger::EventKind;
use crate::mounts::Mount;
use crate::node::Node;
use crate::random;

/// The peer's address, put on each request by the listener: the socket's, never a header's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub IpAddr);

impl PeerAddress {
    /// The address that stands for everything one customer of a network has: one IPv6 customer has 2^64 addresses, so a
    /// /64 is one peer.
    #[must_use]
    pub fn customer(self) -> IpAddr {
        match self.0.to_canonical() {
            v4 @ IpAddr::V4(_) => v4,
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        }
    }
}

/// What every request needs.
#[derive(Debug, Clone)]
struct Api {
    node: Arc<Node>,
    open_requests: Arc<RateLimit>,
    host_requests: Arc<RateLimit>,
    fetches: Arc<RateLimit>,
    /// What is sent as a key share and is none of this server's.
    rubbish_shares: Arc<RateLimit>,
}

/// Seconds that a backup may take on its way in, and to be copied before its first byte leaves.
const BACKUP_SECS: u64 = 6 * 3600;

/// Seconds until a request must be answered, where that is longer than the configured time.
pub(crate) fn longest_secs(path: &str) -> u64 {
    if matches!(path, "/v1/sys/storage/restore" | "/v1/sys/storage/backup") {
        BACKUP_SECS
    } else {
        0
    }
}

/// Such shares from one address within a minute: enough for typing errors, nothing for who guesses.
const RUBBISH_SHARES_PER_MINUTE: u32 = 60;

/// The whole API of an open authority: for tests, and for whoever embeds it.
pub fn router(authority: Arc<Authority>) -> Router {
    match Node::around(authority) {
        Ok(node) => node_router(node),
        Err(error) => {
            tracing::error!(%error, "the authority cannot be served");
            Router::new()
        }
    }
}

/// The whole API. There is one fallback rather than a tree of routes, since a mount's path has any depth; the routes are
/// the rows of [`table::ROUTES`].
pub fn node_router(node: Arc<Node>) -> Router {
    let limits = &node.foundation().config.limits;
    let open_requests = Arc::new(RateLimit::per_minute(limits.login_rate_per_minute));
    let host_requests = Arc::new(RateLimit::per_minute(limits.host_rate_per_minute));
    let fetches = Arc::new(RateLimit::per_minute(limits.fetch_rate_per_minute));
    Router::new()
        .route("/metrics", axum::routing::get(metrics))
        .fallback(dispatch)
        .with_state(Api {
            node,
            open_requests,
            host_requests,
            fetches,
            rubbish_shares: Arc::new(RateLimit::per_minute(RUBBISH_SHARES_PER_MINUTE)),
        })
}

/// What a request changes is changed in the store first and in memory then. A peer that hangs up in between must not stop
/// that half-way, so a request that may change something runs in a task of its own, to its end.
async fn dispatch(State(api): State<Api>, request: Request) -> Response {
    if request.method().is_safe() {
        return respond(api, request).await;
    }
    match tokio::spawn(respond(api, request)).await {
        Ok(response) => response,
        Err(error) => envelope::problem_response(&Problem::internal(&error), &random::uuid()),
    }
}

async fn respond(api: Api, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let request_id = random::uuid();
    let response = match answer(&api, &head, body, &request_id).await {
        Ok(reply) => reply.into_response(&request_id, &head.headers),
        Err(problem) => envelope::problem_response(&problem, &request_id),
    };
    api.node.foundation().metrics.request(response.status().as_u16());
    tracing::debug!(request_id, method = %head.method, path = head.uri.path(), status = response.status().as_u16());
    response
}

/// The road of a request. Cheap refusals come first, the body is read when it is known who sends it, and each step hands
/// the next one what it needs to exist.
async fn answer(api: &Api, head: &Parts, body: Body, request_id: &str) -> Result<Reply, Problem> {
    let raw = head.uri.path();
    let Some(after_prefix) = raw.strip_prefix("/v1/") else {
        return Err(Problem::NoHandler {
            path: raw.trim_start_matches('/').to_owned(),
            nearest: None,
        });
    };
    let path = path::canonical(after_prefix)?;
    let op = Op::of(&head.method, head.uri.query(), &head.headers)?;
    check_headers(head)?;
    if let Some(route) = table::find_node(op, &path) {
        return answer_node(api, route, &path, head, body, request_id).await;
    }
    let authority = api.node.authority().ok_or_else(|| Problem::sealed(&api.node))?;
    let desk = Desk {
        api,
        authority: &authority,
        head,
        peer: peer_of(head),
        now: authority.clock.now(),
        request_id,
    };
    let (route, capture, mount) = match find(&authority, op, &path) {
        Ok(found) => found,
        // Only those who hold a token learn which paths exist.
        Err(problem) => return desk.session().and(Err(problem)),
    };
    match route.endpoint {
        Endpoint::Node(_) | Endpoint::Keyholder(_) => Err(Problem::UnsupportedPath),
        Endpoint::Open(endpoint) => {
            desk.count_open_request(endpoint)?;
            let ask = desk.ask(route, &path, capture, mount, body).await?;
            Ok(remarked(routes::open(endpoint, &ask).await?, route, &ask.fields))
        }
        Endpoint::Token(endpoint) => {
            let session = desk.session()?;
            authority.tokens.spend(&session.entry).await?;
            let ask = desk.ask(route, &path, capture, mount, body).await?;
            Ok(remarked(
                routes::token(endpoint, &ask, &session).await?,
                route,
                &ask.fields,
            ))
        }
        Endpoint::Policy(endpoint) => {
            let session = desk.session()?;
            authority.tokens.spend(&session.entry).await?;
            let permit = desk.permit(session, op, &path).await?;
            let ask = desk.ask(route, &path, capture, mount, body).await?;
            Ok(remarked(
                routes::policy(endpoint, &ask, &permit).await?,
                route,
                &ask.fields,
            ))
        }
    }
}

/// The road of a request about the seal itself: there may be no authority to ask anything.
async fn answer_node(
    api: &Api,
    route: &'static Route,
    path: &str,
    head: &Parts,
    body: Body,
    request_id: &str,
) -> Result<Reply, Problem> {
    let peer = peer_of(head);
    let foundation = api.node.foundation();
    let limits = &foundation.config.limits;
    let mut fields = query_fields(head.uri.query());
    if route.endpoint == Endpoint::Keyholder(Keyholder::Restore) {
        // Too large to be read before it is known who sends it.
        let now = foundation.clock.now();
        let (node, op) = (&api.node, route.op);
        let ask = NodeAsk {
            node,
            op,
            path,
            fields,
            peer,
            now,
            request_id,
            head,
        };
        return routes::restore(&ask, body).await;
    }
    if matches!(route.op, Op::Write | Op::Delete) {
        let bytes = body::read(body, &head.headers, limits.body_bytes_max).await?;
        let sent = body::parse(&bytes, &head.headers, limits.json_depth_max)?;
        if route.op == Op::Write || sent.keys().next().is_some() {
            fields = sent;
        }
    }
    // Reading costs nothing, and a health check must never be told 429: to a load balancer that means "standby". A share of
    // ours is long and random: who brings one is let in, however much rubbish comes from the same address.
    if matches!(route.op, Op::Write | Op::Delete) {
        match fields.string("key")?.map(Zeroizing::new) {
            Some(share) if api.node.recognises(&share) => {}
            Some(_) => count(&api.rubbish_shares, api, peer)?,
            None => count(&api.open_requests, api, peer)?,
        }
    }
    let ask = NodeAsk {
        node: &api.node,
        op: route.op,
        path,
        fields,
        peer,
        now: foundation.clock.now(),
        request_id,
        head,
    };
    match route.endpoint {
        Endpoint::Node(endpoint) => routes::node(endpoint, &ask).await,
        Endpoint::Keyholder(endpoint) => routes::keyholder(endpoint, &ask).await,
        Endpoint::Open(_) | Endpoint::Token(_) | Endpoint::Policy(_) => Err(Problem::UnsupportedPath),
    }
}

/// Counts a request that brings no token.
fn count(limit: &RateLimit, api: &Api, peer: IpAddr) -> Result<(), Problem> {
    limit.check(peer).map_err(|retry_after_secs| {
        api.node.foundation().metrics.rate_limited();
        Problem::RateLimited { retry_after_secs }
    })
}

/// A session that an access policy permits this verb on this path. Only [`Desk::permit`] makes it.
#[derive(Debug)]
pub(crate) struct Permit {
    session: Session,
}

impl Permit {
    /// Who was permitted.
    pub(crate) const fn session(&self) -> &Session {
        &self.session
    }
}

/// What the steps of [`answer`] share.
struct Desk<'a> {
    api: &'a Api,
    authority: &'a Arc<Authority>,
    head: &'a Parts,
    peer: IpAddr,
    now: UnixTime,
    request_id: &'a str,
}

impl<'a> Desk<'a> {
    fn session(&self) -> Result<Session, Problem> {
        session_of(self.authority, self.head, self.peer, self.now)
    }

    async fn permit(&self, session: Session, op: Op, path: &str) -> Result<Permit, Problem> {
        permit(self.authority, session, (op, path), (self.now, self.request_id)).await
    }

    fn count_open_request(&self, endpoint: Open) -> Result<(), Problem> {
        let bucket = match endpoint {
            Open::HostChallenge | Open::HostEnroll | Open::HostRenew | Open::HostReport => &self.api.host_requests,
            _ if endpoint.is_fetch() => &self.api.fetches,
            _ => &self.api.open_requests,
        };
        count(bucket, self.api, self.peer)
    }

    async fn ask(
        &self,
        route: &Route,
        path: &'a str,
        capture: &'a str,
        mount: Option<Arc<Mount>>,
        body: Body,
    ) -> Result<Ask<'a>, Problem> {
        let limits = &self.authority.config.limits;
        let max_bytes = match route.endpoint {
            Endpoint::Policy(Policy::RoleWrite) => limits.role_body_bytes_max,
            // Two hundred logins, each with a key ID as long as they get, and all of it as a text within JSON.
            Endpoint::Open(Open::HostReport) => limits.body_bytes_max.saturating_mul(4),
            _ => limits.body_bytes_max,
        };
        let fields = if route.op == Op::Write {
            let bytes = body::read(body, &self.head.headers, max_bytes).await?;
            body::parse(&bytes, &self.head.headers, limits.json_depth_max)?
        } else {
            query_fields(self.head.uri.query())
        };
        let (authority, node, request_id) = (self.authority, &self.api.node, self.request_id);
        let (peer, now, head) = (self.peer, self.now, self.head);
        Ok(Ask {
            authority,
            node,
            op: route.op,
            path,
            mount,
            capture,
            fields,
            peer,
            now,
            request_id,
            head,
        })
    }
}

fn session_of(authority: &Authority, head: &Parts, peer: IpAddr, now: UnixTime) -> Result<Session, Problem> {
    let token = authenticate::token_of(&head.headers);
    authenticate::authenticate(&authority.tokens, &authority.policy(), token, peer, now)
}

/// Asks the access policies; a refusal is recorded.
async fn permit(
    authority: &Authority,
    session: Session,
    (op, path): (Op, &str),
    (now, request_id): (UnixTime, &str),
) -> Result<Permit, Problem> {
    match authority
        .policy()
        .access
        .decide_path(&session.caller, op.verb(), path, now)
    {
        Ok(_) => Ok(Permit { session }),
        Err(denial) => {
            let event = authority
                .ledger
                .event(EventKind::Deny)
                .caller(&session.caller)
                .text("action", op.verb().as_str())
                .text("path", path)
                .text("code", denial.code())
                .text("reason", &denial.to_string())
                .text("request_id", request_id);
            authority.metrics.denial(denial.code());
            routes::record_denial(authority, event).await;
            Err(denial.into())
        }
    }
}

type Found<'p> = (&'static Route, &'p str, Option<Arc<Mount>>);

fn find<'p>(authority: &Authority, op: Op, path: &'p str) -> Result<Found<'p>, Problem> {
    if table::is_reserved(path) {
        return table::find(Place::Root, op, path).map(|(route, capture)| (route, capture, None));
    }
    let Some((mount, rest)) = authority.mounts.split(path) else {
        return Err(Problem::NoHandler {
            path: path.to_owned(),
            nearest: nearest_mount(authority, path),
        });
    };
    table::find(Place::Mount, op, rest).map(|(route, capture)| (route, capture, Some(mount)))
}

fn nearest_mount(authority: &Authority, path: &str) -> Option<String> {
    let mounts = authority.mounts.list();
    let first = path.split('/').next().unwrap_or_default();
    signet_core::mistake::nearest(first, mounts.iter().map(|mount| mount.path())).map(str::to_owned)
}

/// Vault's remarks on fields that were not read; an answer without a body carries none.
fn remarked(reply: Reply, route: &Route, fields: &Fields) -> Reply {
    if route.op != Op::Write || route.fields.is_empty() || !reply.has_body() {
        return reply;
    }
    let mut warnings = Vec::new();
    let mut ignored = fields.unknown(route.fields);
    if let Some(name) = route.capture_name().filter(|name| fields.contains(name)) {
        ignored.retain(|field| field != name);
        warnings.push(format!(
            "Endpoint replaced the value of these parameters with the values captured from the endpoint's path: [{name}]"
        ));
    }
    if !ignored.is_empty() {
        warnings.push(format!(
            "Endpoint ignored these unrecognized parameters: [{}]",
            ignored.join(" ")
        ));
    }
    reply.with_warnings(warnings)
}

fn query_fields(query: Option<&str>) -> Fields {
    let mut fields = Fields::default();
    for (key, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        fields.insert(key, value.into_owned());
    }
    fields
}

/// Headers that ask for what this server does not do must not be answered as if it had done it.
fn check_headers(head: &Parts) -> Result<(), Problem> {
    if head.headers.contains_key("x-vault-wrap-ttl") {
        return Err(Problem::NotOffered("response wrapping (X-Vault-Wrap-TTL)"));
    }
    match head
        .headers
        .get("x-vault-namespace")
        .map(|value| value.to_str().unwrap_or("?").trim_matches('/'))
    {
        None | Some("" | "root") => Ok(()),
        Some(_) => Err(Problem::NotOffered("a namespace (X-Vault-Namespace)")),
    }
}

fn peer_of(head: &Parts) -> IpAddr {
    // Without a listener (tests) there is no socket; an unspecified address is in no office's network.
    head.extensions
        .get::<PeerAddress>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0)
}

/// `GET /metrics`: for a collector on this machine. Others read `/v1/sys/metrics` with a token.
async fn metrics(State(api): State<Api>, request: Request) -> Response {
    let (head, _body) = request.into_parts();
    if peer_of(&head).is_loopback() {
        return routes::metrics(&api.node.foundation().metrics).into_response("", &head.headers);
    }
    let problem = Problem::forbidden("metrics-loopback-only", "permission denied")
        .with_hint("from elsewhere use /v1/sys/metrics with a token");
    envelope::problem_response(&problem, &random::uuid())
}
