//! A way to the database that is closed at first: who comes is turned away, as by a server that is not there yet.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use crate::common::PATIENCE;

#[derive(Default)]
struct State {
    is_open: bool,
    turned_away: usize,
}

/// Listens on a port of its own until the test ends.
pub struct Gate {
    pub address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Gate {
    /// In front of the server at this host and port.
    pub fn closed(server: &str) -> Gate {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let (of_thread, server) = (Arc::clone(&state), server.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut state = of_thread.0.lock().expect("not poisoned");
                if state.is_open {
                    let server = TcpStream::connect(&server).expect("PostgreSQL listens");
                    hand_on(client, server);
                } else {
                    state.turned_away += 1;
                    of_thread.1.notify_all();
                }
            }
        });
        Gate { address, state }
    }

    /// Waits until so many were turned away.
    pub fn has_turned_away(&self, count: usize) {
        let state = self.state.0.lock().expect("not poisoned");
        let (state, timeout) = self.state.1.wait_timeout_while(state, PATIENCE, |state| state.turned_away < count).expect("not poisoned");
        assert!(!timeout.timed_out(), "{} of {count} came", state.turned_away);
    }

    /// Lets everybody through from now on.
    pub fn open(&self) {
        self.state.0.lock().expect("not poisoned").is_open = true;
    }
}

fn hand_on(client: TcpStream, server: TcpStream) {
    let (other_client, other_server) = (client.try_clone().expect("a handle"), server.try_clone().expect("a handle"));
    for (mut from, mut to) in [(client, server), (other_server, other_client)] {
        std::thread::spawn(move || {
            // However it ends, the other side hears of it.
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
        });
    }
}
