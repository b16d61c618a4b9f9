//! Addresses for tests that must know where a program will listen before it does.

use std::sync::atomic::{AtomicU16, Ordering};

/// A loopback address that is nobody else's: its host belongs to this process, so neither another
/// test nor the port of some outgoing connection can take it. (Binding port 0 and letting go of it
/// gives an address that anybody may have by the time it is used.)
pub fn own_loopback_address() -> String {
    static NEXT_PORT: AtomicU16 = AtomicU16::new(20_000);
    let id = std::process::id();
    let (a, b, c) = (1 + id / 62_500 % 250, id / 250 % 250, 1 + id % 250);
    format!("127.{a}.{b}.{c}:{}", NEXT_PORT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_given_once_and_can_be_listened_on() {
        let (one, other) = (own_loopback_address(), own_loopback_address());
        assert_ne!(one, other);
        let first = std::net::TcpListener::bind(&one).unwrap();
        assert!(first.local_addr().unwrap().ip().is_loopback());
        std::net::TcpListener::bind(&other).unwrap();
    }
}
