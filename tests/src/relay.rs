//! A relay on loopback before a real service: it can be cut, held, pointed elsewhere, and alter what comes back.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How the relay treats its connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Everything passes.
    Open,
    /// Connections are ended.
    Cut,
    /// Nothing passes, and nobody is told.
    Held,
    /// The first bytes after this text in an answer are altered.
    AltersAfter(&'static str),
}

/// A relay; its threads end with the process.
#[derive(Debug, Clone)]
pub struct Relay {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    way: Way,
    target: u16,
    open: Vec<TcpStream>,
}

impl Relay {
    /// Begins to relay to a port of this machine.
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("its number").port();
        let state = State {
            way: Way::Open,
            target,
            open: Vec::new(),
        };
        let relay = Self {
            port,
            state: Arc::new(Mutex::new(state)),
        };
        let accepting = relay.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                accepting.accept(stream);
            }
        });
        relay
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on. Open connections are ended, so that it holds for them too.
    pub fn set(&self, way: Way) {
        let mut state = self.state.lock().expect("no panic");
        state.way = way;
        for stream in state.open.drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    /// From now on it leads to another port.
    pub fn point_to(&self, target: u16) {
        self.state.lock().expect("no panic").target = target;
        let way = self.way();
        self.set(way);
    }

    fn way(&self) -> Way {
        self.state.lock().expect("no panic").way.clone()
    }

    fn accept(&self, client: TcpStream) {
        let (way, target) = {
            let mut state = self.state.lock().expect("no panic");
            state.open.push(client.try_clone().expect("a handle"));
            (state.way.clone(), state.target)
        };
        match way {
            Way::Cut => drop(client.shutdown(Shutdown::Both)),
            Way::Held => {
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_mins(1));
                    drop(client);
                });
            }
            Way::Open | Way::AltersAfter(_) => {
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else {
                    drop(client.shutdown(Shutdown::Both));
                    return;
                };
                let (upstream, downstream) = (server.try_clone().expect("a handle"), client.try_clone());
                let back = downstream.expect("a handle");
                std::thread::spawn(move || pass(client, upstream, None));
                let mark = match way {
                    Way::AltersAfter(mark) => Some(mark),
                    _ => None,
                };
                std::thread::spawn(move || pass(server, back, mark));
            }
        }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, mark: Option<&'static str>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let bytes = &mut buffer[..read];
        if let Some(mark) = mark
            && let Some(at) = bytes.windows(mark.len()).position(|window| window == mark.as_bytes())
        {
            // Past the first bytes of a signature, which are the same in all of them.
            for byte in bytes.iter_mut().skip(at + mark.len() + 20).take(2) {
                *byte = if *byte == b'A' { b'B' } else { b'A' };
            }
        }
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}
