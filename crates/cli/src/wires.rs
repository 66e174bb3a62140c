//! `--wire`: a network of this process's own, with devices whose other ends are here.
//!
//! There are two network namespaces. In the one are this process and the command; in the other are
//! the peers, the devices at the far ends of the wires, for programs that the user starts there.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, IntoRawFd};

use bombus_embedded::{Embedded, Port};
use bombus_kernel::Error;
use bombus_linux::net;

/// The variable that names the peers' namespace.
const PEER: &str = "BOMBUS_PEER";

/// The form of the flag's value.
pub(crate) const FORM: &str = "DEVICE[=ADDRESS/BITS,PEER]";

/// A wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Wire {
    /// The name of the device at either end.
    pub(crate) name: String,
    /// Its address, the peer's, and how many bits they share; chosen if absent.
    addresses: Option<(IpAddr, IpAddr, u8)>,
}

impl Wire {
    /// Reads the flag's value.
    pub(crate) fn parse(text: &str) -> Result<Wire, String> {
        let wrong = || format!("{text} is not {FORM}, for example wire0=10.1.0.1/24,10.1.0.2");
        let (name, addresses) = match text.split_once('=') {
            None => (text, None),
            Some((name, addresses)) => {
                let (own, peer) = addresses.split_once(',').ok_or_else(wrong)?;
                let (own, bits) = own.split_once('/').ok_or_else(wrong)?;
                let address = |text: &str| text.parse::<IpAddr>().map_err(|_| wrong());
                let (own, peer) = (address(own)?, address(peer)?);
                let most = if own.is_ipv4() { 32 } else { 128 };
                let bits = bits.parse().ok().filter(|bits| *bits <= most).ok_or_else(wrong)?;
                if own.is_ipv4() != peer.is_ipv4() {
                    return Err(format!("{own} and {peer} are not of one kind"));
                }
                (name, Some((own, peer, bits)))
            }
        };
        if name.is_empty() || name.len() > 15 || name.contains(['/', ':', ' ']) {
            return Err(format!(
                "{name:?} is no name for a network device: it has 1 to 15 characters, none of them \
                 `/`, `:` or a space"
            ));
        }
        Ok(Wire { name: name.to_owned(), addresses })
    }

    /// The addresses of the wire with this number.
    fn addresses(&self, number: usize) -> (IpAddr, IpAddr, u8) {
        let chosen = |host| IpAddr::from([10, 11, number as u8, host]);
        self.addresses.unwrap_or((chosen(1), chosen(2), 24))
    }
}

/// Moves this process, which has one thread, into a network of its own with these wires.
pub(crate) fn lay(wires: &[Wire], kernel: &Embedded) -> Result<(), Error> {
    net::unshare_process()?;
    loopback()?;
    let mut peers = Vec::new();
    for (number, wire) in wires.iter().enumerate() {
        let (_, address, bits) = wire.addresses(number);
        peers.push(end(&wire.name, address, bits)?);
    }
    // It has to be there as long as this process: whoever has its number may open it.
    let namespace = net::namespace()?;
    let path = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
    let _ = namespace.into_raw_fd();
    net::unshare()?;
    loopback()?;
    for ((number, wire), peer) in wires.iter().enumerate().zip(peers) {
        let (address, _, bits) = wire.addresses(number);
        kernel.add_wire(&wire.name, end(&wire.name, address, bits)?, peer)?;
    }
    kernel.set_variable(PEER, &path);
    Ok(())
}

fn loopback() -> Result<(), Error> {
    net::set_up(net::interface_index("lo")?)
}

/// Makes a device with an address.
fn end(name: &str, address: IpAddr, bits: u8) -> Result<Port, Error> {
    let port = Port::tap(name)?;
    let ifindex = net::interface_index(name)?;
    if address.is_ipv4() {
        // What the stack says by itself over IPv6 would only be in the way. A kernel without IPv6
        // has no such setting.
        let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
    }
    net::set_up(ifindex)?;
    net::add_address(ifindex, address, bits)?;
    Ok(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let wire = |text: &str| Wire::parse(text);
        let plain = wire("w0").unwrap();
        assert_eq!(plain.addresses(1), ([10, 11, 1, 1].into(), [10, 11, 1, 2].into(), 24));
        let said = wire("w0=192.0.2.1/30,192.0.2.2").unwrap();
        assert_eq!(said.addresses(7), ([192, 0, 2, 1].into(), [192, 0, 2, 2].into(), 30));
        assert!(wire("w0=fd00::1/64,fd00::2").is_ok());
        for no in ["", "w0=", "w0=1.2.3.4", "w0=1.2.3.4/33,1.2.3.5", "w0=1.2.3.4/8,::1", "a/b"] {
            assert!(wire(no).is_err(), "{no}");
        }
        assert!(wire("a_name_that_is_too_long").is_err());
    }
}
