//! What each step of a certificate's path costs in the pure domain: `cargo bench -p signet-core`.
//!
//! The bare signature stands first: it is the unit that the others are read in.

#![allow(
    missing_docs,
    clippy::expect_used,
    reason = "a benchmark stops by panicking, and criterion's macros make undocumented items"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use aws_lc_rs::signature::Ed25519KeyPair;
use criterion::{Criterion, criterion_group, criterion_main};
use signet_core::access::AccessPolicies;
use signet_core::caller::{AuthMethod, Caller, CallerParts};
use signet_core::plan::{CertificatePlan, Grant, MountLimits, Resolved, resolve};
use signet_core::request::SigningRequest;
use signet_core::role::{AlgorithmSigner, Role};
use signet_core::serial::{NodeId, Serial};
use signet_core::signer::{CaKeyType, SignError, Signer, SoftwareSigner};
use signet_core::subject_key::SubjectKey;
use signet_core::time::UnixTime;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFg4PHvjQCnTy2OOhtTJjFUNhO2fN6wIYbQf58DB3Y6q";
const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

fn caller() -> Caller {
    Caller::authenticated(CallerParts {
        person: "alice".to_owned(),
        display_name: "ssh-key-alice".to_owned(),
        method: AuthMethod::SshKey,
        groups: (0..19)
            .map(|index| format!("other-{index}"))
            .chain(["backend".to_owned()])
            .collect(),
        policies: ["default".to_owned()].into(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        accessor: "accessor".to_owned(),
        token_expires: None,
        metadata: BTreeMap::new(),
    })
}

fn role() -> Role {
    let text = "allowed_users = [\"ubuntu\", \"deploy\"]\ndefault_user = \"ubuntu\"\nttl = \"10m\"\nmax_ttl = \"1h\"\n\
                default_extensions = [\"permit-pty\", \"permit-user-rc\", \"permit-port-forwarding\"]\n";
    Role::from_toml("my-role", "roles/my-role.toml", text).expect("a role")
}

fn request() -> SigningRequest {
    SigningRequest {
        public_key: Some(KEY.to_owned()),
        valid_principals: Some("ubuntu".to_owned()),
        ..SigningRequest::default()
    }
}

fn resolved() -> Resolved {
    resolve(&role(), &request(), &caller(), &MountLimits::default()).expect("within the role")
}

/// So many policies, one of which permits.
fn policies(count: usize) -> AccessPolicies {
    let mut text =
        "permit (principal in Group::\"backend\", action == Action::\"sign\", resource == Role::\"my-role\")\n\
                    when { [\"ubuntu\", \"deploy\"].containsAll(context.principals) };\n"
            .to_owned();
    for index in 1..count {
        writeln!(
            text,
            "permit (principal in Group::\"group-{index}\", action == Action::\"sign\", resource == Role::\"role-{index}\");"
        )
        .expect("text");
    }
    AccessPolicies::parse(&[("access/bench.cedar".to_owned(), text)]).expect("policies")
}

fn grant() -> Grant {
    policies(1)
        .slice(&caller(), "ssh", "my-role")
        .expect("a slice")
        .grant(resolved(), NOW)
        .expect("a grant")
}

fn plan() -> CertificatePlan {
    CertificatePlan::new(grant(), Serial::new(NodeId(1), 1).expect("a serial"), NOW, [7; 32]).expect("a plan")
}

/// Signs nothing, to see what encoding and reading back cost alone.
#[derive(Debug)]
struct NullSigner(SoftwareSigner);

impl Signer for NullSigner {
    fn public_key(&self) -> &SubjectKey {
        self.0.public_key()
    }

    fn sign(&self, _: &[u8], _: AlgorithmSigner) -> Result<Vec<u8>, SignError> {
        Ok(vec![0; 83])
    }

    fn is_slow(&self) -> bool {
        false
    }
}

fn path(criterion: &mut Criterion) {
    let bare = Ed25519KeyPair::generate().expect("a key");
    let message = [7_u8; 440];
    criterion.bench_function("bare Ed25519 signature of 440 bytes", |bencher| {
        bencher.iter(|| black_box(bare.sign(black_box(&message))));
    });
    criterion.bench_function("parse the subject key", |bencher| {
        bencher.iter(|| SubjectKey::parse(black_box(KEY)).expect("a key"));
    });
    let (role, request, caller) = (role(), request(), caller());
    criterion.bench_function("resolve the role's rules", |bencher| {
        bencher
            .iter(|| resolve(&role, black_box(&request), &caller, &MountLimits::default()).expect("within the role"));
    });
    for count in [10, 1_000, 10_000] {
        let policies = policies(count);
        criterion.bench_function(&format!("decide among {count} policies"), |bencher| {
            bencher.iter_batched(
                resolved,
                |resolved| {
                    policies
                        .slice(&caller, "ssh", "my-role")
                        .expect("a slice")
                        .grant(resolved, NOW)
                        .expect("a grant")
                },
                criterion::BatchSize::SmallInput,
            );
        });
    }
    let null = NullSigner(SoftwareSigner::generate(CaKeyType::Ed25519).expect("a key"));
    criterion.bench_function("encode and read back, without signing", |bencher| {
        bencher.iter_batched(
            plan,
            |plan| plan.sign(&null).expect("bytes"),
            criterion::BatchSize::SmallInput,
        );
    });
    for (name, kind) in [("Ed25519", CaKeyType::Ed25519), ("ECDSA P-256", CaKeyType::EcdsaP256)] {
        let signer = SoftwareSigner::generate(kind).expect("a key");
        criterion.bench_function(&format!("a whole certificate under an {name} CA"), |bencher| {
            bencher.iter_batched(
                plan,
                |plan| plan.sign(&signer).expect("a signature"),
                criterion::BatchSize::SmallInput,
            );
        });
    }
}

criterion_group!(benches, path);
criterion_main!(benches);
