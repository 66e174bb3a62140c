//! A firewall: packets from some networks, or to some ports, are dropped before the kernel sees them.
//!
//! `cargo run --example xdp_firewall`: runs it over packets that it makes itself;
//! `cargo run --example xdp_firewall -- DEVICE SECONDS RULE...`: on a network device for a while.
//! A rule is a network (`10.0.0.0/8`) or a port (`:22`).

mod support;

use std::error::Error;
use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::Duration;

use bombus::{HashMap, Linux, Loaded, LpmTrie, PerCpuArray, Prefix, TestRun};

const XDP_DROP: u32 = 1;

fn main() -> Result<(), Box<dyn Error>> {
    if !support::can_load() {
        return Ok(());
    }
    let kernel = Linux::new()?;
    let object = support::object("xdp_firewall", include_bytes!("xdp_firewall.bpf.o"))?;
    let loaded = object.load(&kernel)?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [device, seconds, rules @ ..] = &arguments[..] {
        rules.iter().try_for_each(|rule| add_rule(&loaded, rule))?;
        let link = loaded.program("on_xdp")?.attach_xdp(device, 0)?;
        sleep(Duration::from_secs(seconds.parse()?));
        drop(link);
    } else {
        add_rule(&loaded, "10.0.0.0/8")?;
        add_rule(&loaded, ":22")?;
        let firewall = loaded.program("on_xdp")?;
        for (source, port) in [
            ([10, 1, 2, 3], 80),
            ([192, 168, 0, 1], 80),
            ([192, 168, 0, 1], 22),
            ([8, 8, 8, 8], 53),
        ] {
            let mut run = TestRun { data: packet(source, port), ..TestRun::default() };
            let verdict =
                if firewall.test_run(&mut run)? == XDP_DROP { "dropped" } else { "passed" };
            println!("from {:<12} to port {port:<3} {verdict}", Ipv4Addr::from(source));
        }
    }
    report(&loaded)
}

/// `10.0.0.0/8` or `:22`.
fn add_rule(loaded: &Loaded<'_>, rule: &str) -> Result<(), Box<dyn Error>> {
    if let Some(port) = rule.strip_prefix(':') {
        let ports: HashMap<[u8; 2], u64> = loaded.map("blocked_ports")?;
        return Ok(ports.insert(&port.parse::<u16>()?.to_be_bytes(), &0)?);
    }
    let networks: LpmTrie<[u8; 4], u64> = loaded.map("blocked")?;
    let (address, bits) = rule.split_once('/').unwrap_or((rule, "32"));
    let data = address.parse::<Ipv4Addr>()?.octets();
    Ok(networks.insert(&Prefix { bits: bits.parse()?, data }, &0)?)
}

/// What happened, and by which rules.
fn report(loaded: &Loaded<'_>) -> Result<(), Box<dyn Error>> {
    let verdicts: PerCpuArray<u64> = loaded.map("verdicts")?;
    for (index, name) in ["passed", "dropped"].into_iter().enumerate() {
        let cpus = verdicts.get(index as u32)?.unwrap_or_default();
        println!("{name:>8}: {}", cpus.iter().sum::<u64>());
    }
    let networks: LpmTrie<[u8; 4], u64> = loaded.map("blocked")?;
    for (prefix, hits) in networks.entries()? {
        println!("  {}/{}: {hits}", Ipv4Addr::from(prefix.data), prefix.bits);
    }
    let ports: HashMap<[u8; 2], u64> = loaded.map("blocked_ports")?;
    for (port, hits) in ports.entries()? {
        println!("  :{}: {hits}", u16::from_be_bytes(port));
    }
    Ok(())
}

/// An Ethernet frame with the start of a TCP segment.
fn packet(source: [u8; 4], port: u16) -> Vec<u8> {
    const TCP: u8 = 6;
    let mut frame = vec![0; 14 + 20 + 20];
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    let ip = &mut frame[14..];
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&40_u16.to_be_bytes());
    ip[9] = TCP;
    ip[12..16].copy_from_slice(&source);
    ip[22..24].copy_from_slice(&port.to_be_bytes());
    frame
}
