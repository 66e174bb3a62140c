//! What the kernel shows in files: pins, symbols, its configuration.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::ffi::CString;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use bombus_kernel::{Error, LinkFd, MapFd, Object, ProgFd, Result};

use crate::caps::Wants;
use crate::error::{errno_of, privileged};
use crate::sys::{object, process};
use crate::{Linux, links, maps, programs};

/// What has been read.
#[derive(Default)]
pub(crate) struct Resources {
    /// `/proc/kallsyms`.
    symbols: OnceCell<Vec<u8>>,
    config: OnceCell<Arc<HashMap<String, String>>>,
}

const SYMBOLS: &str = "/proc/kallsyms";

impl Resources {
    fn symbols(&self) -> std::io::Result<&[u8]> {
        Ok(match self.symbols.get() {
            Some(symbols) => symbols,
            None => {
                let text = std::fs::read(SYMBOLS)?;
                self.symbols.get_or_init(|| text)
            }
        })
    }

    /// Whether there is such a symbol, when that can be found out.
    pub(crate) fn has_symbol(&self, name: &str) -> Option<bool> {
        Some(find_symbol(self.symbols().ok()?, name).is_some())
    }

    /// The address of a symbol; of several of the name, the first.
    pub(crate) fn symbol(&self, name: &str) -> Result<Option<u64>> {
        let doing = "read the addresses of kernel symbols";
        let symbols = self
            .symbols()
            .map_err(|error| privileged(doing, errno_of(&error), Wants::Addresses))?;
        match find_symbol(symbols, name) {
            // Some symbols are there. But the kernel's code is not.
            Some(0) if find_symbol(symbols, "_text").unwrap_or(0) == 0 => {
                Err(privileged(doing, libc::EPERM, Wants::Addresses))
            }
            address => Ok(address),
        }
    }

    /// The configuration, if the kernel or the distribution shows it.
    pub(crate) fn config(&self) -> Result<Arc<HashMap<String, String>>> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(parse_config(&read_config()?));
        Ok(Arc::clone(self.config.get_or_init(|| config)))
    }
}

/// From lines such as `ffffffff81000000 T _text` and `ffffffffc0000000 t init\t[module]`.
fn find_symbol(symbols: &[u8], name: &str) -> Option<u64> {
    let name = name.as_bytes();
    symbols.split(|&byte| byte == b'\n').find_map(|line| {
        // Address, a space, a letter, a space.
        let start = line.iter().position(|&byte| byte == b' ')? + 3;
        let rest = line.get(start..)?.strip_prefix(name)?;
        if !matches!(rest.first(), None | Some(b'\t' | b' ')) {
            return None;
        }
        u64::from_str_radix(std::str::from_utf8(&line[..start - 3]).ok()?, 16).ok()
    })
}

fn read_config() -> Result<String> {
    let release = process::release().unwrap_or_default();
    let packed = std::fs::File::open("/proc/config.gz");
    let plain = [format!("/boot/config-{release}"), format!("/lib/modules/{release}/config")];
    let failed =
        |error: &std::io::Error| Error::os("read the kernel's configuration", errno_of(error));
    match packed {
        Ok(file) => {
            let mut text = String::new();
            let read = flate2::read::GzDecoder::new(file).read_to_string(&mut text);
            read.map_err(|error| failed(&error))?;
            Ok(text)
        }
        Err(_) => {
            let found = plain.iter().find_map(|path| std::fs::read_to_string(path).ok());
            found.ok_or_else(|| Error::Unsupported {
                what: "this machine does not show the kernel's configuration".into(),
                help: Some(format!("looked for /proc/config.gz and {}", plain.join(", "))),
            })
        }
    }
}

/// From lines such as `CONFIG_HZ=250`. What is not set is not there.
fn parse_config(text: &str) -> HashMap<String, String> {
    let set = text.lines().filter(|line| line.starts_with("CONFIG_"));
    let pairs = set.filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

fn c_path(path: &Path, doing: &str) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::os(doing, libc::EINVAL))
}

fn not_pinned(doing: &str, errno: i32) -> Error {
    match errno {
        libc::EINVAL => Error::Os {
            doing: doing.into(),
            errno,
            help: Some("is it in a BPF file system?".into()),
        },
        errno => privileged(doing, errno, Wants::Bpf),
    }
}

/// `BPF_OBJ_PIN`.
pub(crate) fn pin(linux: &Linux, object: Object, path: &Path) -> Result<()> {
    let doing = format!("pin to {}", path.display());
    let c_path = c_path(path, &doing)?;
    let failed = |errno| not_pinned(&doing, errno);
    match object {
        Object::Map(map) => object::pin(maps::get(linux, map)?.fd(), &c_path).map_err(failed),
        Object::Program(program) => programs::with(linux, program, |program| {
            object::pin(program.fd(), &c_path).map_err(failed)
        }),
        Object::Link(link) => links::pin(linux, link, &c_path),
    }
}

/// Opens what is pinned, if it is what was asked for.
fn open_pinned(path: &Path, what: &str, doing: &str) -> Result<OwnedFd> {
    let fd = object::pinned(&c_path(path, doing)?, 0).map_err(|errno| match errno {
        libc::EACCES => Error::os(doing, errno),
        errno => privileged(doing, errno, Wants::Bpf),
    })?;
    // Which kind of object it is, only its name in /proc tells.
    let kind = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    let kind = kind.map(|kind| kind.to_string_lossy().into_owned()).unwrap_or_default();
    // Links have a hyphen or an underscore, by version.
    if kind.replace('_', "-").contains(what) {
        Ok(fd)
    } else {
        Err(Error::Os {
            doing: doing.into(),
            errno: libc::EINVAL,
            help: Some(format!("it is {kind}")),
        })
    }
}

/// `BPF_OBJ_GET` of a map.
pub(crate) fn pinned_map(linux: &Linux, path: &Path) -> Result<MapFd> {
    let doing = format!("open the map {}", path.display());
    maps::open(linux, open_pinned(path, "bpf-map", &doing)?, &doing)
}

/// `BPF_OBJ_GET` of a program.
pub(crate) fn pinned_program(linux: &Linux, path: &Path) -> Result<ProgFd> {
    let doing = format!("open the program {}", path.display());
    programs::open(linux, open_pinned(path, "bpf-prog", &doing)?, &doing)
}

/// `BPF_OBJ_GET` of a link.
pub(crate) fn pinned_link(linux: &Linux, path: &Path) -> Result<LinkFd> {
    let doing = format!("open the link {}", path.display());
    Ok(links::open(linux, open_pinned(path, "bpf-link", &doing)?))
}

/// Lets go of a handle.
pub(crate) fn close(linux: &Linux, object: Object) -> Result<()> {
    let known = match object {
        Object::Map(map) => linux.maps.borrow_mut().remove(&map).is_some(),
        Object::Program(program) => linux.programs.borrow_mut().remove(&program).is_some(),
        Object::Link(link) => return links::detach(linux, link),
    };
    if known { Ok(()) } else { Err(Error::os("close a handle", libc::EBADF)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_found_by_their_whole_name() {
        let text = b"0000000000000000 A zero\nffffffff81000000 T _text\n\
            ffffffff81000100 t start_here\nffffffffc0000000 t start\t[module]\n";
        assert_eq!(find_symbol(text, "_text"), Some(0xffff_ffff_8100_0000));
        assert_eq!(find_symbol(text, "start"), Some(0xffff_ffff_c000_0000));
        assert_eq!(find_symbol(text, "star"), None);
        assert_eq!(find_symbol(text, ""), None);
        assert_eq!(find_symbol(b"x", "x"), None);
    }

    #[test]
    fn configurations_are_what_is_set() {
        let config = parse_config("# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=\"x=y\"\n");
        assert_eq!(config.len(), 2);
        assert_eq!(config["CONFIG_C"], "\"x=y\"");
    }
}
