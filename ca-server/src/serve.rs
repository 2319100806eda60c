//! The life of the server process: open, listen, tell systemd, obey signals, drain.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustls::ServerConfig;
use sd_notify::NotifyState;
use signet_core::ledger::EventKind;
use signet_core::mistake::Mistake;
use signet_core::signer::SoftwareSigner;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::authority::{Authority, OpenError};
use crate::clock::Clock;
use crate::config::{CaKeyConfig, Config, MountConfig, SealSettings, Tls as TlsConfig};
use crate::foundation::Foundation;
use crate::listener::{Listener, Serving};
use crate::metrics::Metrics;
use crate::node::Node;
use crate::reload::{read_policies, record_policy, reload};
use crate::signer::CaKey;
use crate::tls::{Tls, TlsError};
use crate::{hardening, http, logging, pkcs11};

/// Runs the server that `config` describes, until SIGTERM.
///
/// # Errors
/// Whatever keeps it from starting; nothing is served then.
pub fn run(config: Config) -> anyhow::Result<()> {
    logging::init();
    hardening::lock_and_report();
    let policy = read_policies(&config).map_err(OpenError::Policies)?;
    let foundation = Foundation::lay(config, policy, Clock::system())?;
    record_start(&foundation)?;
    let node = Node::start(foundation)?;
    let tls = tls(&node.foundation().config)?;
    node.allow_restart();
    let ended = run_node(&node, tls.as_ref(), |address, fingerprint| {
        announce(&node.foundation().config, address, fingerprint)
    })?;
    match ended {
        Ended::Stopped => Ok(()),
        Ended::Anew => Err(anew()).context("the server cannot start itself anew on the restored data; start it"),
    }
}

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// By a signal.
    Stopped,
    /// The data was restored: what this process holds is of the past.
    Anew,
}

/// Becomes a new process of the same number, program and arguments, so that a service manager sees no end. Comes back only
/// with an error. All files are closed on the way, the lock of the data folder with them.
fn anew() -> std::io::Error {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error,
    };
    tracing::info!("starting anew");
    Command::new(program).args(std::env::args_os().skip(1)).exec()
}

/// Serves an opened authority: mounts of the configuration are made, listeners bound, then `ready` is told the address.
///
/// # Errors
/// Whatever keeps it from starting.
pub fn run_opened(
    authority: &Arc<Authority>,
    tls: Option<&Tls>,
    ready: impl FnOnce(SocketAddr, Option<&str>) -> std::io::Result<()>,
) -> anyhow::Result<()> {
    record_start(&authority.foundation)?;
    run_node(&Node::around(Arc::clone(authority))?, tls, ready).map(drop)
}

/// Serves a node, sealed or not; a seal that is not available is tried again in the background.
///
/// # Errors
/// Whatever keeps it from starting.
fn run_node(
    node: &Arc<Node>,
    tls: Option<&Tls>,
    ready: impl FnOnce(SocketAddr, Option<&str>) -> std::io::Result<()>,
) -> anyhow::Result<Ended> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let signals = runtime.block_on(async { Signals::new() })?;
    node.make_mounts()?;
    let foundation = node.foundation();
    crate::hosts::watch_region_certificates(foundation, foundation.clock.now());
    let (shutdown, stop) = watch::channel(false);
    let server_config = tls.map(Tls::server_config).transpose()?;
    let (address, serving) = listen(node, server_config, &stop)?;
    let fingerprint = tls.map(Tls::fingerprint);
    ready(address, fingerprint.as_deref())?;
    notify(&[NotifyState::Ready]);
    tell_status(node);
    tracing::info!(%address, fingerprint, node = foundation.config.node.0, "serving");
    node.keep_trying();
    let ended = runtime.block_on(obey(signals, node, tls));
    match ended {
        Ended::Stopped => notify(&[NotifyState::Stopping]),
        // To systemd a process that says it is stopping has to be gone soon.
        Ended::Anew => notify_reloading(),
    }
    tracing::info!("draining");
    shutdown.send_replace(true);
    serving.into_iter().for_each(Serving::join);
    if ended == Ended::Stopped {
        foundation
            .ledger
            .record_blocking(foundation.ledger.event(EventKind::Stop))?;
        foundation.end();
    }
    crate::pkcs11::close();
    tracing::info!("stopped");
    Ok(ended)
}

/// Tells systemd, and so `systemctl status`, whether the server is sealed and why.
pub(crate) fn tell_status(node: &Node) {
    let status = match node.summary().closed {
        None => "serving".to_owned(),
        Some(closed) => format!("sealed: {}", closed.reason()),
    };
    notify(&[NotifyState::Status(&status)]);
}

/// The TLS identity that the configuration asks for.
///
/// # Errors
/// [`TlsError`] naming the file.
pub fn tls(config: &Config) -> Result<Option<Tls>, TlsError> {
    match &config.tls {
        TlsConfig::Files { certificate, key } => Tls::from_files(certificate, key).map(Some),
        TlsConfig::SelfSigned => Tls::self_signed(&config.data, &self_signed_names(config)).map(Some),
        TlsConfig::Off => Ok(None),
    }
}

/// Hosts of the addresses that clients type, and this machine's own.
fn self_signed_names(config: &Config) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let typed = config
        .addresses
        .iter()
        .filter_map(|address| url::Url::parse(address).ok());
    names.extend(typed.filter_map(|url| url.host_str().map(|host| host.trim_matches(['[', ']']).to_owned())));
    let listened = config.listen.address.ip();
    if !listened.is_unspecified() {
        names.push(listened.to_string());
    }
    names.sort_unstable();
    names.dedup();
    names
}

/// Makes each configured mount and CA key that is not there yet.
pub(crate) async fn make_mounts(authority: &Authority) -> anyhow::Result<()> {
    for config in &authority.config.mounts {
        let mount = if let Some(mount) = authority.mounts.get(&config.path) {
            mount
        } else {
            let event = authority
                .ledger
                .event(EventKind::MountCreate)
                .text("mount", &config.path);
            authority.ledger.record(event.text("by", "signet.toml")).await?;
            authority.mounts.create(config).await?
        };
        let is_there = |wanted: &CaKeyConfig| {
            mount
                .issuers()
                .iter()
                .any(|issuer| wanted.names(issuer.signer().as_ref()))
        };
        match (mount.signer(), &config.ca_key) {
            (None, _) => make_ca_key(authority, config).await?,
            // A rotation away from it may be under way.
            (Some(signer), Some(wanted)) if !is_there(wanted) => tracing::warn!(
                mount = config.path,
                ca_fingerprint = signer.public_key().fingerprint(),
                "the mount has another CA key than `ca_key` names; it is not replaced, since hosts trust it"
            ),
            (Some(_), _) => {}
        }
    }
    Ok(())
}

async fn make_ca_key(authority: &Authority, config: &MountConfig) -> anyhow::Result<()> {
    let Some(mount) = authority.mounts.get(&config.path) else {
        return Ok(());
    };
    let key = match (&config.ca_key, config.ca_key_type) {
        (Some(elsewhere), _) => match CaKey::adopt(elsewhere) {
            Ok(key) => key,
            Err(error) => {
                // A token that is away keeps this mount from signing and nobody else from anything.
                tracing::error!(mount = config.path, %error, "no CA key: mend it, then send SIGHUP");
                return Ok(());
            }
        },
        (None, Some(key_type)) => SoftwareSigner::generate(key_type)?.into(),
        (None, None) => return Ok(()),
    };
    let signer = key.signer();
    let event = authority
        .ledger
        .event(EventKind::CaCreate)
        .text("mount", &config.path)
        .text("fingerprint", &signer.public_key().fingerprint())
        .text("holder", signer.holder())
        .text("by", "signet.toml");
    authority.ledger.record(event).await?;
    mount.set_signer(key).await?;
    Ok(())
}

fn record_start(foundation: &Foundation) -> anyhow::Result<()> {
    let start = foundation
        .ledger
        .event(EventKind::Start)
        .text("version", env!("CARGO_PKG_VERSION"));
    foundation
        .ledger
        .record_blocking(start)
        .context("the ledger cannot be written")?;
    record_policy(foundation, &foundation.policy())?;
    Ok(())
}

fn listen(
    node: &Arc<Node>,
    tls: Option<Arc<ServerConfig>>,
    stop: &watch::Receiver<bool>,
) -> anyhow::Result<(SocketAddr, Vec<Serving>)> {
    let foundation = node.foundation();
    let Config { listen, limits, .. } = foundation.config.as_ref();
    let bind = |address| Listener::bind(address).with_context(|| format!("cannot listen on {address}"));
    let main = bind(listen.address)?;
    let address = main.local_addr();
    let mut serving = Vec::new();
    if let Some(metrics) = listen.metrics {
        let router = metrics_router(foundation.metrics.clone());
        serving.push(bind(metrics)?.serve(router, None, limits, &foundation.metrics, stop)?);
    }
    serving.push(main.letting_go_at(node.sealings()).serve(
        http::node_router(Arc::clone(node)),
        tls,
        limits,
        &foundation.metrics,
        stop,
    )?);
    Ok((address, serving))
}

/// What the second listener answers: the counters, and nothing else.
fn metrics_router(metrics: Metrics) -> axum::Router {
    axum::Router::new().route("/metrics", axum::routing::get(move || async move { metrics.render() }))
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// Reloads on SIGHUP, pats the watchdog, returns on SIGTERM or SIGINT, or when a backup was restored.
async fn obey(mut signals: Signals, node: &Arc<Node>, tls: Option<&Tls>) -> Ended {
    let watchdog = sd_notify::watchdog_enabled().map_or(Duration::from_hours(1), |limit| limit / 2);
    let mut pat = tokio::time::interval(watchdog.max(Duration::from_millis(100)));
    loop {
        tokio::select! {
            _ = signals.hangup.recv() => {
                notify_reloading();
                // This thread serves nobody, so it may block.
                reload(node.foundation(), tls);
                // It never seals; a seal or a token that refused is asked once more.
                pkcs11::forget_refusals();
                node.try_again();
                if let Err(error) = node.make_mounts() {
                    tracing::error!(%error, "configured mounts");
                }
                node.keep_trying();
                notify(&[NotifyState::Ready]);
            }
            _ = pat.tick() => notify(&[NotifyState::Watchdog]),
            () = node.restart_wanted() => return Ended::Anew,
            _ = signals.terminate.recv() => return Ended::Stopped,
            _ = signals.interrupt.recv() => return Ended::Stopped,
        }
    }
}

fn notify_reloading() {
    if let Ok(monotonic) = NotifyState::monotonic_usec_now() {
        notify(&[NotifyState::Reloading, monotonic]);
    }
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}

fn announce(config: &Config, address: SocketAddr, fingerprint: Option<&str>) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "signet-ca serves {} on {address}", config.name)?;
    if let Some(fingerprint) = fingerprint {
        writeln!(out, "TLS certificate SHA-256 {fingerprint}")?;
    }
    out.flush()
}

/// What `signet-ca check` finds: mistakes in policies and unusable TLS files. Starts nothing, writes nothing.
#[must_use]
pub fn check(config: &Config) -> Vec<Mistake> {
    let mut mistakes = read_policies(config).err().unwrap_or_default();
    if let TlsConfig::Files { certificate, key } = &config.tls
        && let Err(error) = Tls::from_files(certificate, key)
    {
        mistakes.push(Mistake::new(
            certificate.display().to_string(),
            crate::command::chain(&error),
        ));
    }
    mistakes.extend(ended_region_certificates(config));
    mistakes.extend(unusable_seals(config));
    mistakes
}

/// Files that a seal cannot do without. Nothing is asked of a service.
fn unusable_seals(config: &Config) -> Vec<Mistake> {
    let seals = [Some(&config.seal.current), config.seal.previous.as_ref()];
    let mistake = |settings: &SealSettings| match settings {
        SealSettings::Kmip(kmip) => {
            let error = crate::kmip::check_files(kmip).err()?;
            Some(Mistake::new("signet.toml", format!("the kmip seal: {error}")))
        }
        SealSettings::Shamir
        | SealSettings::KeyFile { .. }
        | SealSettings::Passphrase { .. }
        | SealSettings::AwsKms(_)
        | SealSettings::Pkcs11(_) => None,
    };
    seals.into_iter().flatten().filter_map(mistake).collect()
}

/// A server with such a certificate runs, but lets no instance of that region enrol.
fn ended_region_certificates(config: &Config) -> Vec<Mistake> {
    let Some(ec2) = &config.hosts.ec2 else {
        return Vec::new();
    };
    let ended = ec2.ending_within(0, Clock::system().now());
    let mistake = |(region, ends)| {
        let text = format!("[hosts.ec2.certificates]: the certificate of region `{region}` has ended on {ends}");
        Mistake::new("signet.toml", text).hint("take the next one from AWS's page of regions' certificates")
    };
    ended.into_iter().map(mistake).collect()
}
