//! The flags that every verb which talks to an authority has; Vault's, with Vault's environment behind them.

#![allow(
    clippy::doc_markdown,
    rustdoc::bare_urls,
    reason = "the doc comments of flags are their help texts"
)]

use std::path::PathBuf;

use clap::Args;
use secrecy::SecretString;

use super::value;
use crate::config::Environment;
use crate::endpoint::{Endpoint, canonical_address};
use crate::output::Format;
use crate::report::Failure;
use crate::vault::Vault;

/// Vault's default, kept.
const DEFAULT_ADDRESS: &str = "https://127.0.0.1:8200";
const DEFAULT_TIMEOUT_SECS: u64 = 60;

/// Which authority, how to reach it, how to print.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection and output")]
pub struct ConnectArgs {
    /// Address of the authority [env: SIGNET_ADDR, VAULT_ADDR] [default: https://127.0.0.1:8200]
    #[arg(long)]
    pub address: Option<String>,
    /// Namespace, on servers that have them [env: SIGNET_NAMESPACE, VAULT_NAMESPACE]
    #[arg(long)]
    pub namespace: Option<String>,
    /// PEM file of the only certificate authorities to believe [env: SIGNET_CACERT, VAULT_CACERT]
    #[arg(long)]
    pub ca_cert: Option<PathBuf>,
    /// Folder of such PEM files [env: SIGNET_CAPATH, VAULT_CAPATH]
    #[arg(long)]
    pub ca_path: Option<PathBuf>,
    /// PEM file of this client's TLS certificate [env: SIGNET_CLIENT_CERT, VAULT_CLIENT_CERT]
    #[arg(long)]
    pub client_cert: Option<PathBuf>,
    /// PEM file of the key to it [env: SIGNET_CLIENT_KEY, VAULT_CLIENT_KEY]
    #[arg(long)]
    pub client_key: Option<PathBuf>,
    /// Name that the server's TLS certificate must have [env: SIGNET_TLS_SERVER_NAME, VAULT_TLS_SERVER_NAME]
    #[arg(long)]
    pub tls_server_name: Option<String>,
    /// Believe any TLS certificate; for experiments only [env: SIGNET_SKIP_VERIFY, VAULT_SKIP_VERIFY]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = value::truth, value_name = "true|false", hide_possible_values = true)]
    pub tls_skip_verify: Option<bool>,
    /// Further request header, Name=value; can be repeated
    #[arg(long, value_parser = value::header)]
    pub header: Vec<(String, String)>,
    /// Never ask anything on the terminal
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = value::truth, value_name = "true|false")]
    pub non_interactive: Option<bool>,
    /// table, json or yaml [env: SIGNET_FORMAT, VAULT_FORMAT]
    #[arg(long)]
    pub format: Option<String>,
    /// Print only this field of the answer
    #[arg(long)]
    pub field: Option<String>,
    /// Not supported: a wrapped answer holds no certificate
    #[arg(long, hide = true)]
    pub wrap_ttl: Option<String>,
    /// Not supported
    #[arg(long, hide = true)]
    pub mfa: Vec<String>,
    /// Not supported
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = value::truth)]
    pub policy_override: Option<bool>,
}

impl ConnectArgs {
    /// Where to, with the environment behind the flags.
    ///
    /// # Errors
    /// A usage [`Failure`] that names the flag.
    pub fn endpoint(&self, environment: &Environment) -> Result<Endpoint, Failure> {
        self.refuse_unsupported()?;
        let setting = |name: &str| environment.setting(name);
        let path = |flag: &Option<PathBuf>, name: &str| -> Result<Option<PathBuf>, Failure> {
            let path = flag.clone().or_else(|| setting(name).map(PathBuf::from));
            // The agent has another working folder.
            path.map(|path| std::path::absolute(&path).map_err(|_| Failure::usage("a path is empty")))
                .transpose()
        };
        let address = self.address.clone().or_else(|| setting("ADDR"));
        let address = canonical_address(address.as_deref().unwrap_or(DEFAULT_ADDRESS))?;
        let client_cert = path(&self.client_cert, "CLIENT_CERT")?;
        let client_key = path(&self.client_key, "CLIENT_KEY")?;
        if client_cert.is_some() != client_key.is_some() {
            return Err(Failure::usage("-client-cert and -client-key belong together").hint("give both, or neither"));
        }
        Ok(Endpoint {
            namespace: self.namespace.clone().or_else(|| setting("NAMESPACE")),
            ca_cert: path(&self.ca_cert, "CACERT")?,
            ca_path: path(&self.ca_path, "CAPATH")?,
            client_cert,
            client_key,
            tls_server_name: self.tls_server_name.clone().or_else(|| setting("TLS_SERVER_NAME")),
            tls_skip_verify: match self.tls_skip_verify {
                Some(flag) => flag,
                None => truth_setting(environment, "SKIP_VERIFY")?,
            },
            headers: self.header.clone(),
            timeout_secs: duration_setting(environment, "CLIENT_TIMEOUT")?.unwrap_or(DEFAULT_TIMEOUT_SECS),
            retries_max: number_setting(environment, "MAX_RETRIES")?.unwrap_or(0),
            proxy: crate::proxy::for_address(&address, environment),
            address,
        })
    }

    /// A connection with the token at hand.
    ///
    /// # Errors
    /// [`Failure`], also when there is no token.
    pub fn vault(&self, environment: &Environment) -> Result<Vault, Failure> {
        let endpoint = self.endpoint(environment)?;
        let token = required_token(environment)?;
        Ok(Vault::new(endpoint, Some(token))?)
    }

    /// How to print.
    ///
    /// # Errors
    /// A usage [`Failure`].
    pub fn format(&self, environment: &Environment) -> Result<Format, Failure> {
        Format::chosen(self.format.as_deref(), environment)
    }

    /// May a person be asked?
    #[must_use]
    pub fn is_interactive(&self) -> bool {
        !self.non_interactive.unwrap_or(false)
    }

    /// A flag that is accepted must act; these cannot.
    fn refuse_unsupported(&self) -> Result<(), Failure> {
        let refuse = |flag: &str, why: &str| {
            Err(Failure::usage(format!("flag `{flag}` is not supported: {why}")).hint("leave it out"))
        };
        if self.wrap_ttl.is_some() {
            return refuse("-wrap-ttl", "a wrapped answer holds no certificate to log in with");
        }
        if !self.mfa.is_empty() {
            return refuse("-mfa", "second factors are a matter of the login");
        }
        if self.policy_override == Some(true) {
            return refuse("-policy-override", "there are no soft-mandatory policies to override");
        }
        Ok(())
    }
}

/// The token, or the advice to get one.
///
/// # Errors
/// A [`Failure`] that says to log in.
pub fn required_token(environment: &Environment) -> Result<SecretString, Failure> {
    environment.token()?.ok_or_else(|| {
        Failure::new(
            crate::report::Exit::LogIn,
            "there is no token to ask the authority with",
        )
        .hint("run `signet login`, or set SIGNET_TOKEN")
    })
}

fn bad_setting(name: &str, what: &str) -> Failure {
    Failure::usage(format!("SIGNET_{name} (or VAULT_{name}) is not {what}"))
}

fn truth_setting(environment: &Environment, name: &str) -> Result<bool, Failure> {
    let text = environment.setting(name);
    text.map_or(Ok(false), |text| {
        value::truth(&text).map_err(|_| bad_setting(name, "true or false"))
    })
}

fn duration_setting(environment: &Environment, name: &str) -> Result<Option<u64>, Failure> {
    let text = environment.setting(name);
    text.map(|text| value::ttl(&text).map_err(|_| bad_setting(name, "a time such as 60s")))
        .transpose()
}

fn number_setting(environment: &Environment, name: &str) -> Result<Option<u32>, Failure> {
    environment
        .setting(name)
        .map(|text| text.parse().map_err(|_| bad_setting(name, "a number")))
        .transpose()
}
