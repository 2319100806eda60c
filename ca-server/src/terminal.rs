//! Asking a person for a secret, on the terminal itself: standard input may be something else.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Longer than any secret that people type.
const BYTES_MAX: u64 = 4000;

/// Asks, and gives the line without showing it.
///
/// # Errors
/// There is no terminal, or it is gone.
pub fn ask(prompt: &str) -> io::Result<Zeroizing<String>> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    if !terminal.is_terminal() {
        return Err(io::Error::other("no terminal"));
    }
    let before = tcgetattr(&terminal)?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    // Before it asks: whoever is quick would see what they type, and have it thrown away.
    tcsetattr(&terminal, OptionalActions::Flush, &quiet)?;
    write!(terminal, "{prompt}: ")?;
    let mut line = Zeroizing::new(String::with_capacity(4096));
    let read = BufReader::new(terminal.try_clone()?.take(BYTES_MAX)).read_line(&mut line);
    tcsetattr(&terminal, OptionalActions::Flush, &before)?;
    writeln!(terminal)?;
    read?;
    Ok(Zeroizing::new(line.trim_end_matches(['\n', '\r']).to_owned()))
}
