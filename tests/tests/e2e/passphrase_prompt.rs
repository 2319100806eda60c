//! The passphrase seal on a terminal, by `script` of util-linux, which gives a program one.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use signet_tests::api::Api;
use signet_tests::binaries::{ours, system};
use signet_tests::sshd::free_port;
use signet_tests::wait::until;
use signet_tests::workdir::Workdir;

const PASSPHRASE: &str = "correct horse battery staple";

/// `signet-ca serve` on a terminal of its own.
struct Terminal {
    script: Child,
    shown: String,
}

impl Terminal {
    fn serve(config: &Path) -> Self {
        let line = format!(
            "exec {} serve --config={}",
            ours("signet-ca").display(),
            config.display()
        );
        let script = Command::new(system("script"))
            .args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"])
            .env_clear()
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script starts");
        Self {
            script,
            shown: String::new(),
        }
    }

    /// Reads what the terminal shows until it holds `wanted` once more.
    fn shows(&mut self, wanted: &str) {
        let from = self.shown.len();
        let output = self.script.stdout.as_mut().expect("its output");
        let mut byte = [0];
        while !self.shown[from..].contains(wanted) {
            let read = output.read(&mut byte).expect("what it shows");
            assert_ne!(read, 0, "it ended before it showed {wanted}:\n{}", self.shown);
            self.shown.push(char::from(byte[0]));
        }
    }

    fn types(&mut self, text: &str) {
        let input = self.script.stdin.as_mut().expect("its input");
        writeln!(input, "{text}").expect("it reads");
    }

    /// Presses Ctrl-C, and gives the exit code.
    fn interrupted(mut self) -> Option<i32> {
        self.types("\u{3}");
        let status = self.script.wait().expect("its end");
        assert!(!self.shown.contains(PASSPHRASE), "{}", self.shown);
        status.code()
    }
}

#[test]
fn a_passphrase_is_asked_on_the_terminal_twice_when_it_is_new_and_never_shown() {
    let folder = Workdir::new();
    folder.folder("policies");
    let port = free_port();
    let config = folder.write(
        "signet.toml",
        &format!(
            "data = \"data\"\npolicies = \"policies\"\naddresses = [\"https://127.0.0.1:{port}\"]\n[listen]\n\
             address = \"127.0.0.1:{port}\"\n[[mount]]\npath = \"ssh\"\nca_key_type = \"ed25519\"\n[seal]\n\
             type = \"passphrase\"\n"
        ),
    );
    let api = Api::new(&format!("https://127.0.0.1:{port}"), None);
    let opens = || {
        until("the seal to open", || {
            api.try_get("sys/health").filter(|answer| answer.status == 200)
        })
    };

    let mut terminal = Terminal::serve(&config);
    terminal.shows("New passphrase of the seal: ");
    terminal.types(PASSPHRASE);
    terminal.shows("The same again: ");
    terminal.types("correct horse battery stable");
    terminal.shows("the two passphrases differ");
    assert_eq!(terminal.script.wait().expect("its end").code(), Some(1));

    let mut terminal = Terminal::serve(&config);
    for prompt in ["New passphrase of the seal: ", "The same again: "] {
        terminal.shows(prompt);
        terminal.types(PASSPHRASE);
    }
    terminal.shows("signet-ca serves");
    opens();
    let key = api.ca_key("ssh");
    assert_eq!(terminal.interrupted(), Some(0));

    // Typed wrong, it is asked again.
    let mut terminal = Terminal::serve(&config);
    for typed in ["correct horse battery stable", PASSPHRASE] {
        terminal.shows("Passphrase of the seal: ");
        terminal.types(typed);
    }
    terminal.shows("signet-ca serves");
    opens();
    assert_eq!(api.ca_key("ssh"), key);
    assert_eq!(terminal.interrupted(), Some(0));
}
