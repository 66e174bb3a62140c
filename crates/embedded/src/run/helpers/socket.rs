//! Sockets (`net/core/filter.c`). Those of the network stack are the kernel's own business; here is the
//! one that test runs give their packets, which is connected to nothing.

use bombus_vm::TrapKind;

use super::{Context, failure};
use crate::os;
use crate::run::memory::SOCKET;

/// Bytes of a tuple of addresses (`struct bpf_sock_tuple`): IPv4, IPv6.
const TUPLES: [u64; 2] = [12, 36];

/// `sk_lookup_tcp(ctx, tuple, size, netns, flags)`: there are no sockets to be found.
pub(super) fn lookup(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (tuple, size) = (context.arg(1), context.arg(2));
    if TUPLES.contains(&size) {
        context.vm.read(context.run, tuple, size as usize)?;
    }
    Ok(0)
}

impl Context<'_, '_, '_> {
    fn socket(&self) -> Result<u64, TrapKind> {
        let socket = self.arg(0);
        if socket == SOCKET { Ok(socket) } else { Err(self.bad_argument(0, "is no socket")) }
    }
}

/// `sk_release(sk)`.
pub(super) fn release(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    context.socket()?;
    Ok(0)
}

/// `sk_fullsock(sk)`: it is one.
pub(super) fn fullsock(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    context.socket()
}

/// `tcp_sock(sk)`, `get_listener_sock(sk)`: it has no protocol.
pub(super) fn as_tcp(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    context.socket()?;
    Ok(0)
}

/// `get_netns_cookie(ctx)`: as good a number as the kernel's, which it does not tell.
pub(super) fn get_netns_cookie(_: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    Ok(os::network_namespace().unwrap_or_else(|| failure(libc::ENOENT)))
}
