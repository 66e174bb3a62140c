//! A mix of packets, the same for the same seed, each with what the firewall has to do with it.

use std::net::Ipv4Addr;

/// Where they go, on the wire and above.
pub(crate) const MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// The firewall's rules: a network, and ports.
pub(crate) const BLOCKED_NETWORK: ([u8; 4], u32) = ([10, 0, 0, 0], 8);
pub(crate) const BLOCKED_PORTS: [u16; 2] = [22, 5353];
const OTHER_PORTS: [u16; 3] = [53, 80, 8443];

/// Every port that packets go to.
pub(crate) fn ports() -> impl Iterator<Item = u16> {
    BLOCKED_PORTS.into_iter().chain(OTHER_PORTS)
}

pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const IPV6: u16 = 0x86dd;
pub(crate) const ARP: u16 = 0x0806;
/// For experiments (IEEE 802, local experimental EtherType 1).
pub(crate) const JUNK: u16 = 0x88b5;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;

/// What the firewall has to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Pass,
    BlockedByNetwork,
    BlockedByPort(u16),
}

/// A packet.
pub(crate) struct Packet {
    pub(crate) frame: Vec<u8>,
    pub(crate) fate: Fate,
    /// A UDP socket at [`ADDRESS`] gets it if it passes.
    pub(crate) for_socket: bool,
}

/// An endless mix.
pub(crate) struct Mix {
    state: u64,
}

impl Mix {
    pub(crate) fn new(seed: u64) -> Mix {
        Mix { state: seed | 1 }
    }

    /// A number below `bound` (xorshift64*, Vigna 2016).
    fn below(&mut self, bound: u64) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % bound
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.below(256) as u8).collect()
    }

    pub(crate) fn next(&mut self) -> Packet {
        match self.below(100) {
            0..75 => self.ipv4(),
            75..85 => self.ipv6(),
            85..90 => self.plain(ARP, 28),
            90..95 => self.plain(JUNK, 60),
            // A header that ends too early.
            _ => self.plain(IPV4, 12),
        }
    }

    /// Random bytes of at most this many.
    fn plain(&mut self, ether_type: u16, most: u64) -> Packet {
        let count = self.below(most) as usize;
        let payload = self.bytes(count);
        Packet { frame: frame(ether_type, &payload), fate: Fate::Pass, for_socket: false }
    }

    fn port(&mut self) -> u16 {
        let ports: Vec<u16> = ports().collect();
        ports[self.below(ports.len() as u64) as usize]
    }

    fn ipv4(&mut self) -> Packet {
        let protocol = [TCP, TCP, UDP, UDP, UDP, ICMP][self.below(6) as usize];
        let is_blocked = self.below(4) == 0;
        let host = self.below(1 << 16) as u32;
        let source = match is_blocked {
            true => Ipv4Addr::from(0x0a00_0000 | host),
            // Half of them right beside the blocked network.
            false if host.is_multiple_of(2) => Ipv4Addr::from(0x0b00_0000 | host),
            false => Ipv4Addr::from(0xc633_6400 | (host & 0xff)),
        };
        let port = self.port();
        // A later fragment has no ports, whatever stands in their place.
        let is_fragment = self.below(20) == 0;
        let options = if self.below(10) == 0 { 4 } else { 0 };
        let size = self.below(400) as usize;
        let payload = self.bytes(size);
        let segment = transport(protocol, 1024 + host as u16 % 1000, port, &payload);

        let mut header = vec![0x45 + (options / 4) as u8, 0];
        header.extend(((20 + options + segment.len()) as u16).to_be_bytes());
        header.extend((host as u16).to_be_bytes());
        header.extend(if is_fragment { 100_u16.to_be_bytes() } else { [0, 0] });
        header.extend([64, protocol, 0, 0]);
        header.extend(source.octets());
        header.extend(ADDRESS.octets());
        // No-operation, three times, and the end.
        header.extend(&[1, 1, 1, 0][..options]);
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header.extend(segment);

        let has_ports = protocol != ICMP && !is_fragment;
        let fate = match () {
            () if is_blocked => Fate::BlockedByNetwork,
            () if has_ports && BLOCKED_PORTS.contains(&port) => Fate::BlockedByPort(port),
            () => Fate::Pass,
        };
        Packet { frame: frame(IPV4, &header), fate, for_socket: protocol == UDP && !is_fragment }
    }

    /// The rules are about IPv4: even to blocked ports it passes.
    fn ipv6(&mut self) -> Packet {
        let port = self.port();
        let segment = transport(UDP, 1024, port, b"six");
        let mut header = vec![0x60, 0, 0, 0];
        header.extend((segment.len() as u16).to_be_bytes());
        header.extend([UDP, 64]);
        header.extend(self.bytes(32));
        header.extend(segment);
        Packet { frame: frame(IPV6, &header), fate: Fate::Pass, for_socket: false }
    }
}

fn frame(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = MAC.to_vec();
    frame.extend([2, 0, 0, 0, 0, 1]);
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The header behind IP's, and the payload. The checksum of UDP over IPv4 may be left out.
fn transport(protocol: u8, source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let mut segment = Vec::new();
    if protocol == ICMP {
        // Echo reply: nobody answers it.
        segment.extend([0; 8]);
    } else {
        segment.extend(source.to_be_bytes());
        segment.extend(destination.to_be_bytes());
        if protocol == UDP {
            segment.extend(((8 + payload.len()) as u16).to_be_bytes());
            segment.extend([0, 0]);
        } else {
            // Sequence numbers, length of the header, flags (reset: nobody answers it), and so on.
            segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 4, 0, 0, 0, 0, 0, 0]);
        }
    }
    segment.extend(payload);
    segment
}

/// RFC 1071.
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
