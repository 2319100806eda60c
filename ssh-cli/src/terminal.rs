//! Asking a person on the terminal itself: for a secret, without showing it, or for a word.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Asks for a line on `/dev/tty`, whatever stdin and stdout are.
///
/// # Errors
/// The system's, when there is no terminal.
pub fn ask_line(prompt: &str) -> std::io::Result<String> {
    let mut terminal = std::fs::File::options().read(true).write(true).open("/dev/tty")?;
    terminal.write_all(signet_core::inspect::escape(prompt).as_bytes())?;
    let mut line = String::new();
    BufReader::new(terminal.take(4096)).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// Asks for a secret on `/dev/tty`, whatever stdin and stdout are.
///
/// # Errors
/// The system's, when there is no terminal.
pub fn ask_secret(prompt: &str) -> std::io::Result<Zeroizing<String>> {
    let mut terminal = std::fs::File::options().read(true).write(true).open("/dev/tty")?;
    let before = tcgetattr(&terminal)?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    // Before the prompt: what is typed right after it would be shown, and thrown away.
    tcsetattr(&terminal, OptionalActions::Flush, &quiet)?;
    terminal.write_all(signet_core::inspect::escape(prompt).as_bytes())?;
    let mut line = Zeroizing::new(String::new());
    let read = BufReader::new(terminal.try_clone()?.take(4096)).read_line(&mut line);
    tcsetattr(&terminal, OptionalActions::Flush, &before)?;
    terminal.write_all(b"\n")?;
    read?;
    Ok(Zeroizing::new(line.trim_end_matches(['\n', '\r']).to_owned()))
}
