//! A line for every change of a TCP connection's state.
//!
//! `cargo run --example tcp_logger`: of one connection that it makes itself;
//! `cargo run --example tcp_logger -- 60`: of all, for sixty seconds.

mod support;

use std::error::Error;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use bombus::{Linux, RingBuf};
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// `struct change` of `tcp_logger.bpf.c`.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Change {
    time: u64,
    old_state: u32,
    new_state: u32,
    source_port: u16,
    destination_port: u16,
    family: u16,
    unused: u16,
    source: [u8; 16],
    destination: [u8; 16],
}

fn main() -> Result<(), Box<dyn Error>> {
    if !support::can_load() {
        return Ok(());
    }
    let seconds = std::env::args().nth(1).map(|text| text.parse::<u64>()).transpose()?;
    let kernel = Linux::new()?;
    let object = support::object("tcp_logger", include_bytes!("tcp_logger.bpf.o"))?;
    let loaded = object.load(&kernel)?;
    let _link = loaded.attach_all()?;
    let events: RingBuf = loaded.map("events")?;

    println!("{:<12} {:<40} CHANGE", "TIME", "CONNECTION");
    let only = if seconds.is_none() { Some(connect_once()?) } else { None };
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(1));
    loop {
        events.consume_as::<Change>(|change| {
            if only.is_none_or(|port| [change.source_port, change.destination_port].contains(&port))
            {
                print(&change);
            }
        })?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        events.wait(left.min(Duration::from_millis(100)))?;
    }
    match loaded.variable::<u64>("lost")? {
        0 => {}
        lost => println!("{lost} changes were lost: the ring buffer was full"),
    }
    Ok(())
}

/// A connection from this process to itself, from the first packet to the last; its port.
fn connect_once() -> std::io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let mut client = TcpStream::connect(address)?;
    let (mut server, _) = listener.accept()?;
    client.write_all(b"hello")?;
    drop(client);
    server.read_to_end(&mut Vec::new())?;
    Ok(address.port())
}

fn print(change: &Change) {
    let connection = format!(
        "{} -> {}",
        address(change, &change.source, change.source_port),
        address(change, &change.destination, change.destination_port)
    );
    let (old, new) = (state(change.old_state), state(change.new_state));
    println!("{:<12.6} {connection:<40} {old} -> {new}", change.time as f64 / 1e9);
}

fn address(change: &Change, bytes: &[u8; 16], port: u16) -> SocketAddr {
    const AF_INET6: u16 = 10;
    let [a, b, c, d, ..] = *bytes;
    let address = match change.family {
        AF_INET6 => IpAddr::V6(Ipv6Addr::from(*bytes)),
        _ => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
    };
    SocketAddr::new(address, port)
}

/// The names of `include/net/tcp_states.h`.
fn state(number: u32) -> &'static str {
    const NAMES: [&str; 13] = [
        "?",
        "ESTABLISHED",
        "SYN_SENT",
        "SYN_RECV",
        "FIN_WAIT1",
        "FIN_WAIT2",
        "TIME_WAIT",
        "CLOSE",
        "CLOSE_WAIT",
        "LAST_ACK",
        "LISTEN",
        "CLOSING",
        "NEW_SYN_RECV",
    ];
    NAMES.get(number as usize).copied().unwrap_or("?")
}
