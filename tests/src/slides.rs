//! The three requests of the slides, made with curl as a newcomer makes them: a mount, a CA key, a role. The demo shows
//! them and the tests build on them.

use std::process::{Command, Stdio};

use crate::authority::{Authority, ROOT_TOKEN};
use crate::binaries::system;

/// The mount that they make.
pub const MOUNT: &str = "ssh-client-signer";

/// The role `my-role`, as it is on the slides.
pub const ROLE: &str = r#"{"allow_user_certificates":true,"allowed_users":"*","default_extensions":[{"permit-pty":""}],"key_type":"ca","default_user":"ubuntu","ttl":"30m0s"}"#;

/// Path and body of each, in order.
#[must_use]
pub fn requests() -> [(String, &'static str); 3] {
    [
        (format!("sys/mounts/{MOUNT}"), r#"{"type":"ssh"}"#),
        (format!("{MOUNT}/config/ca"), r#"{"generate_signing_key":true}"#),
        (format!("{MOUNT}/roles/my-role"), ROLE),
    ]
}

/// Posts `body` with the root token and gives the answer's text.
///
/// # Panics
/// curl is missing, or the authority refuses.
#[must_use]
pub fn curl(authority: &Authority, path: &str, body: &str) -> String {
    let url = format!("{}/v1/{path}", authority.address());
    let token = format!("X-Vault-Token: {ROOT_TOKEN}");
    let quiet = ["--silent", "--show-error", "--fail-with-body", "--noproxy", "*"];
    let ran = Command::new(system("curl"))
        .args(quiet)
        .args(["-H", &token, "-d", body, &url])
        .stdin(Stdio::null())
        .output()
        .expect("curl starts");
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{url}: {text} {complaint}");
    text
}
