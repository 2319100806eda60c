//! A request that has passed the transport's rules: what handlers are given instead of HTTP.

use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use signet_core::time::UnixTime;
use signet_core::vault_value::{FieldError, Fields};

use super::table::Op;
use crate::authority::Authority;
use crate::mounts::Mount;
use crate::node::Node;

/// A request, read.
#[derive(Debug)]
pub struct Ask<'a> {
    /// The authority.
    pub authority: &'a Arc<Authority>,
    /// The server, whose seal it may be about.
    pub node: &'a Arc<Node>,
    /// What is wanted.
    pub op: Op,
    /// The canonical path after `/v1/`.
    pub path: &'a str,
    /// The mount, for paths under one.
    pub mount: Option<Arc<Mount>>,
    /// What the route's pattern captured; `""` without a capture.
    pub capture: &'a str,
    /// The body's fields; the query's for read, list and delete.
    pub fields: Fields,
    /// The socket's peer.
    pub peer: IpAddr,
    /// The time of this request; every check sees the same.
    pub now: UnixTime,
    /// The request's id, as in the answer, the log and the ledger.
    pub request_id: &'a str,
    /// Method, target and headers, for the few who need them.
    pub head: &'a Parts,
}

impl Ask<'_> {
    /// A text field; `""` when absent.
    ///
    /// # Errors
    /// [`FieldError`] for arrays and objects.
    pub fn text(&self, field: &str) -> Result<String, FieldError> {
        self.fields.string(field).map(Option::unwrap_or_default)
    }

    /// The token as sent.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        super::authenticate::token_of(&self.head.headers)
    }
}

/// A request about the seal itself, which is answered whether there is an authority or not.
#[derive(Debug)]
pub struct NodeAsk<'a> {
    /// The server.
    pub node: &'a Arc<Node>,
    /// What is wanted.
    pub op: Op,
    /// The canonical path after `/v1/`.
    pub path: &'a str,
    /// The body's fields and the query's.
    pub fields: Fields,
    /// The socket's peer.
    pub peer: IpAddr,
    /// The time of this request.
    pub now: UnixTime,
    /// The request's id.
    pub request_id: &'a str,
    /// Method, target and headers.
    pub head: &'a Parts,
}

impl NodeAsk<'_> {
    /// A text field; `""` when absent.
    ///
    /// # Errors
    /// [`FieldError`] for arrays and objects.
    pub fn text(&self, field: &str) -> Result<String, FieldError> {
        self.fields.string(field).map(Option::unwrap_or_default)
    }
}
