//! The authority as systemd runs it: secrets of the seal by `LoadCredential=`, and what the unit's state and `systemctl
//! status` are told over `$NOTIFY_SOCKET`. The socket and the folder are systemd's interface; systemd itself is not here.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use rustix::process::Signal;
use signet_tests::authority::Authority;
use signet_tests::person::Person;
use signet_tests::softhsm::{PIN, Token};
use signet_tests::wait::PATIENCE;
use signet_tests::workdir::Workdir;

/// What systemd gives a unit.
struct Manager {
    folder: Workdir,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let folder = Workdir::new();
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        folder.folder("credentials");
        Self { folder, socket }
    }

    fn load_credential(&self, name: &str, text: &str) {
        let path = self.folder.path().join("credentials").join(name);
        // Read-only as systemd makes it, so another one takes its place.
        let _absent = std::fs::remove_file(&path);
        std::fs::write(&path, text).expect("a credential");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o400)).expect("mode 0400");
    }

    fn environment(&self) -> [(&'static str, PathBuf); 2] {
        let path = self.folder.path();
        [
            ("NOTIFY_SOCKET", path.join("notify")),
            ("CREDENTIALS_DIRECTORY", path.join("credentials")),
        ]
    }

    /// Starts an authority as a unit, with `more` in its environment.
    fn start(&self, config: &str, more: &[(&str, &str)]) -> Authority {
        let own = self
            .environment()
            .map(|(name, path)| (name, path.display().to_string()));
        let mut environment: Vec<_> = own.iter().map(|(name, path)| (*name, path.as_str())).collect();
        environment.extend(more);
        Authority::serve_sealed_with(|_| {}, config, &environment)
    }

    /// What is told until something holds `wanted`, that included.
    fn told(&self, wanted: &str) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        let mut buffer = [0; 4096];
        while !all.last().is_some_and(|text| text.contains(wanted)) {
            let length = self.socket.recv(&mut buffer);
            let length = length.unwrap_or_else(|error| panic!("nobody said {wanted} but {all:?}: {error}"));
            all.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        all
    }
}

#[test]
fn a_passphrase_from_a_credential_opens_the_seal_and_the_unit_is_told_how_it_stands() {
    let manager = Manager::new();
    manager.load_credential("seal", "correct horse battery staple\n");
    let watchdog = [("WATCHDOG_USEC", "400000")];
    let mut authority = manager.start("\n[seal]\ntype = \"passphrase\"\ncredential = \"seal\"\n", &watchdog);
    manager.told("READY=1");
    manager.told("STATUS=serving");
    manager.told("WATCHDOG=1");
    let key = authority.anonymous().ca_key("ssh");
    authority.kill();
    authority.start();
    manager.told("STATUS=serving");
    assert_eq!(authority.anonymous().ca_key("ssh"), key);

    authority.signal(Signal::HUP);
    let told = manager.told("RELOADING=1");
    assert!(told.last().unwrap().contains("MONOTONIC_USEC="), "{told:?}");
    manager.told("READY=1");
    assert_eq!(authority.stop(), Some(0));
    manager.told("STOPPING=1");

    std::fs::remove_file(manager.folder.path().join("credentials/seal")).unwrap();
    let printed = authority.fails_to_start();
    assert!(printed.contains("the credential"), "{printed}");
}

#[test]
fn a_wrong_pin_leaves_a_sealed_unit_that_says_so_and_opens_when_reloaded_with_the_right_one() {
    let (manager, token) = (Manager::new(), Token::empty());
    manager.load_credential("hsm-pin", PIN);
    let pin_file = format!("pin_file = \"{}\"", token.pin_file().display());
    let config = token.seal().replace(&pin_file, "pin_credential = \"hsm-pin\"");
    let conf = token.environment();
    let mut authority = manager.start(&config, &[("SOFTHSM2_CONF", &conf)]);
    manager.told("STATUS=sealed: the server is not initialised");
    let made = authority.init();
    assert!(made.body["root_token"].is_string(), "{}", made.text);
    assert_eq!(authority.stop(), Some(0));

    manager.load_credential("hsm-pin", "0000-0000");
    authority.start();
    let told = manager.told("STATUS=sealed");
    let status = told.last().unwrap();
    assert!(status.contains("PIN") && status.contains("SIGHUP"), "{status}");
    assert!(!status.contains("0000-0000"), "{status}");
    manager.load_credential("hsm-pin", PIN);
    authority.signal(Signal::HUP);
    manager.told("STATUS=serving");
    assert_eq!(authority.anonymous().get("sys/health").status, 200);
}

#[test]
fn a_unit_that_is_restored_over_the_api_never_says_that_it_stops() {
    let (manager, token) = (Manager::new(), Token::empty());
    let conf = token.environment();
    let environment = [("SOFTHSM2_CONF", conf.as_str())];
    let first = manager.start(&token.seal(), &environment);
    let made = first.init();
    let folder = Workdir::new();
    let backup = folder.path().join("signet.backup");
    let backup = backup.to_str().unwrap();
    let operator = |authority: &Authority, token: &str, arguments: &[&str]| {
        let person = Person::using(&authority.address()).with("SIGNET_SKIP_VERIFY", "true");
        let ran = person
            .with("SIGNET_TOKEN", token)
            .run(&[&["operator"], arguments].concat());
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    };
    operator(&first, made.body["root_token"].as_str().unwrap(), &["backup", backup]);
    let key = first.anonymous().ca_key("ssh");
    drop(first);

    // A new machine with the same token: nobody has initialised it, and who has the backup restores it.
    let manager = Manager::new();
    let second = manager.start(&token.seal(), &environment);
    manager.told("STATUS=sealed: the server is not initialised");
    operator(&second, "", &["restore", backup]);
    let mut told = manager.told("RELOADING=1");
    told.extend(manager.told("READY=1"));
    manager.told("STATUS=serving");
    assert!(!told.iter().any(|text| text.contains("STOPPING=1")), "{told:?}");
    assert_eq!(second.anonymous().ca_key("ssh"), key);
}
