//! Certificates straight from the pure domain, for the questions that only OpenSSH can answer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::SystemTime;

use signet_core::access::AccessPolicies;
use signet_core::caller::{AuthMethod, Caller, CallerParts};
use signet_core::denial::Denial;
use signet_core::plan::{CertificatePlan, MountLimits, resolve};
use signet_core::request::SigningRequest;
use signet_core::role::Role;
use signet_core::serial::{NodeId, Serial};
use signet_core::signer::{CaKeyType, Signer as _, SoftwareSigner};
use signet_core::time::UnixTime;

/// A CA key with everything that issues under it.
#[derive(Debug)]
pub struct Ca {
    signer: SoftwareSigner,
    policies: AccessPolicies,
}

impl Ca {
    /// A new key.
    pub fn new(kind: CaKeyType) -> Self {
        Self {
            signer: SoftwareSigner::generate(kind).expect("a CA key"),
            policies: AccessPolicies::default(),
        }
    }

    /// A new Ed25519 key.
    pub fn ed25519() -> Self {
        Self::new(CaKeyType::Ed25519)
    }

    /// The line that hosts trust.
    pub fn public_line(&self) -> String {
        self.signer.public_line()
    }

    /// The key's fingerprint, as sshd logs it.
    pub fn fingerprint(&self) -> String {
        self.signer.public_key().fingerprint()
    }

    /// Walks the whole path of a certificate for a root caller.
    pub fn try_issue(&self, role: &Role, request: &SigningRequest, at: UnixTime) -> Result<Issued, Denial> {
        let caller = root_caller();
        let resolved = resolve(role, request, &caller, &MountLimits::default())?;
        let grant = self
            .policies
            .slice(&caller, role.mount(), role.name())?
            .grant(resolved, at)?;
        let serial = Serial::new(NodeId(7), fresh_number()).expect("a serial");
        let plan = CertificatePlan::new(grant, serial, at, nonce())?;
        let key_id = plan.resolved().key_id().to_string();
        let line = plan.sign(&self.signer).expect("a signature").into_line();
        Ok(Issued {
            line,
            serial: serial.get(),
            key_id,
        })
    }

    /// As [`Self::try_issue`], now, for a request that must be granted.
    pub fn issue(&self, role: &Role, request: &SigningRequest) -> Issued {
        self.try_issue(role, request, now()).expect("a grant")
    }
}

/// A certificate and what is known about it.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate's line.
    pub line: String,
    /// Its serial.
    pub serial: u64,
    /// Its key ID.
    pub key_id: String,
}

/// A role from the text of its file.
pub fn role(name: &str, text: &str) -> Role {
    Role::from_toml(name, &format!("roles/{name}.toml"), text).expect("a role")
}

/// A request for one principal.
pub fn request(public_key: &str, principal: &str) -> SigningRequest {
    SigningRequest {
        public_key: Some(public_key.to_owned()),
        valid_principals: Some(principal.to_owned()),
        ..SigningRequest::default()
    }
}

/// The present time.
pub fn now() -> UnixTime {
    UnixTime::from_secs(
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("a time")
            .as_secs(),
    )
}

/// Some time before now.
pub fn ago(secs: u64) -> UnixTime {
    UnixTime::from_secs(now().secs() - secs)
}

/// Some time after now.
pub fn hence(secs: u64) -> UnixTime {
    UnixTime::from_secs(now().secs() + secs)
}

fn root_caller() -> Caller {
    Caller::authenticated(CallerParts {
        person: "root".to_owned(),
        display_name: "root".to_owned(),
        method: AuthMethod::Token,
        groups: BTreeSet::new(),
        policies: ["root".to_owned()].into(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        accessor: "accessor".to_owned(),
        token_expires: None,
        metadata: BTreeMap::new(),
    })
}

fn fresh_number() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

fn nonce() -> [u8; 32] {
    let mut nonce = [0; 32];
    aws_lc_rs::rand::fill(&mut nonce).expect("randomness");
    nonce
}
