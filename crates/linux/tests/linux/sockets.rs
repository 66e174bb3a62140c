//! Programs at sockets and at maps of sockets, each test in a network namespace of its own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd};
use std::time::Duration;

use bombus_kernel::{AttachPoint, AttachTo, Kernel, UpdateFlag};
use bombus_linux::Linux;
use bombus_platform::{AttachType, MapType, ProgType};
use libtest_mimic::Failed;

use crate::devices::in_namespace;
use crate::{Test, cell, code, ensure, load_for, map_spec, read_cell, same};

pub(crate) const TESTS: &[Test] = &[
    ("sockets::filter", filter),
    ("sockets::reuseport", reuseport),
    ("sockets::sockmap", sockmap),
    ("sockets::lookup", lookup),
    ("sockets::flow_dissector", flow_dissector),
];

const PACKETS: u64 = 43;

/// A filter that lets nothing through, and counts.
fn filter() -> Result<(), Failed> {
    in_namespace(|| {
        let linux = Linux::new()?;
        let cell = cell(&linux)?;
        let code = code::always(&code::count(cell), 0);
        let program =
            load_for(&linux, ProgType::SocketFilter, AttachType::NONE, AttachTo::Nothing, &code)?;
        let (to, from) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        to.set_nonblocking(true)?;
        let at = AttachPoint::Socket { fd: to.as_raw_fd(), reuseport: false };
        let link = linux.attach(program, &at, 0)?;
        for _ in 0..PACKETS {
            from.send_to(&[1], to.local_addr()?)?;
        }
        same(read_cell(&linux, cell)?, PACKETS)?;
        ensure(to.recv(&mut [0]).is_err(), || "it came through".into())?;
        linux.detach(link)?;
        from.send_to(&[1], to.local_addr()?)?;
        same(to.recv(&mut [0])?, 1)?;
        same(read_cell(&linux, cell)?, PACKETS)?;
        // Not a socket.
        let at = AttachPoint::Socket { fd: 4711, reuseport: false };
        same(linux.attach(program, &at, 0).unwrap_err().errno(), Some(libc::EBADF))
    })
}

/// A socket of a group that shares one address.
fn grouped(address: std::net::SocketAddrV4) -> Result<UdpSocket, Failed> {
    let on: libc::c_int = 1;
    let name = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    };
    // SAFETY: the descriptor is new and ours alone; the pointers are to values of the sizes beside
    // them that outlive the calls.
    unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        let socket = UdpSocket::from_raw_fd(fd);
        let size = size_of_val(&on) as u32;
        let set = libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_REUSEPORT,
            (&raw const on).cast(),
            size,
        );
        let bound = libc::bind(fd, (&raw const name).cast(), size_of_val(&name) as u32);
        if set != 0 || bound != 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        Ok(socket)
    }
}

/// The program's value is the place of the socket in its group.
fn reuseport() -> Result<(), Failed> {
    in_namespace(|| {
        let linux = Linux::new()?;
        let address = "127.0.0.1:4711".parse()?;
        let (first, second) = (grouped(address)?, grouped(address)?);
        first.set_nonblocking(true)?;
        second.set_nonblocking(true)?;
        let from = UdpSocket::bind("127.0.0.1:0")?;
        for (place, chosen, other) in [(0, &first, &second), (1, &second, &first)] {
            let (prog_type, code) = (ProgType::SocketFilter, code::always(&[], place));
            let program = load_for(&linux, prog_type, AttachType::NONE, AttachTo::Nothing, &code)?;
            let at = AttachPoint::Socket { fd: first.as_raw_fd(), reuseport: true };
            let link = linux.attach(program, &at, 0)?;
            for _ in 0..8 {
                from.send_to(&[1], address)?;
                same(chosen.recv(&mut [0])?, 1)?;
                ensure(other.recv(&mut [0]).is_err(), || "the other got it".into())?;
            }
            linux.detach(link)?;
        }
        Ok(())
    })
}

/// Messages that a socket in a map sends.
fn sockmap() -> Result<(), Failed> {
    in_namespace(|| {
        const PASS: i32 = 1;
        let linux = Linux::new()?;
        let cell = cell(&linux)?;
        let map = linux.map_create(&map_spec(MapType::Sockmap, 4, 4, 1))?;
        let code = code::always(&code::count(cell), PASS);
        let attach_type = AttachType::SkMsgVerdict;
        let program = load_for(&linux, ProgType::SkMsg, attach_type, AttachTo::Nothing, &code)?;
        linux.attach(program, &AttachPoint::Sockmap { map, attach_type }, 0)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut near = TcpStream::connect(listener.local_addr()?)?;
        let (mut far, _) = listener.accept()?;
        near.set_nodelay(true)?;
        linux.map_update(map, &[0; 4], &near.as_raw_fd().to_ne_bytes(), UpdateFlag::Any)?;
        far.set_read_timeout(Some(Duration::from_secs(5)))?;
        for _ in 0..PACKETS {
            near.write_all(&[1])?;
            far.read_exact(&mut [0])?;
        }
        same(read_cell(&linux, cell)?, PACKETS)?;
        linux.detach_all();
        // The socket still is in the map, as it was when it went in.
        same(linux.map_delete(map, &[0; 4])?, true)?;
        near.write_all(&[1])?;
        far.read_exact(&mut [0])?;
        same(read_cell(&linux, cell)?, PACKETS)
    })
}

/// A program that is asked where packets go which nobody waits for in particular.
fn lookup() -> Result<(), Failed> {
    in_namespace(|| {
        const PASS: i32 = 1;
        let linux = Linux::new()?;
        let cell = cell(&linux)?;
        let code = code::always(&code::count(cell), PASS);
        let attach_type = AttachType::SkLookup;
        let program = load_for(&linux, ProgType::SkLookup, attach_type, AttachTo::Nothing, &code)?;
        let path = "/proc/thread-self/ns/net".into();
        let link = linux.attach(program, &AttachPoint::Netns { path, attach_type }, 0)?;
        let from = UdpSocket::bind("127.0.0.1:0")?;
        let to = UdpSocket::bind("127.0.0.1:0")?;
        for _ in 0..PACKETS {
            from.send_to(&[1], to.local_addr()?)?;
        }
        same(read_cell(&linux, cell)?, PACKETS)?;
        linux.detach(link)?;
        from.send_to(&[1], to.local_addr()?)?;
        same(read_cell(&linux, cell)?, PACKETS)
    })
}

fn flow_dissector() -> Result<(), Failed> {
    in_namespace(|| {
        const OK: i32 = 0;
        let linux = Linux::new()?;
        let code = code::always(&[], OK);
        let attach_type = AttachType::FlowDissector;
        let load =
            || load_for(&linux, ProgType::FlowDissector, attach_type, AttachTo::Nothing, &code);
        let at = AttachPoint::Netns { path: "/proc/thread-self/ns/net".into(), attach_type };
        let link = linux.attach(load()?, &at, 0);
        if link.as_ref().is_err_and(|error| error.errno() == Some(libc::EEXIST)) {
            // One for the machine's own namespace is one for all.
            println!("skipped: the machine has a flow dissector");
            return Ok(());
        }
        let link = link?;
        let again = linux.attach(load()?, &at, 0).unwrap_err().to_string();
        ensure(again.contains("has such a program already"), || again.clone())?;
        linux.link_update(link, load()?)?;
        linux.detach(link)?;
        linux.attach(load()?, &at, 0)?;
        Ok(())
    })
}
