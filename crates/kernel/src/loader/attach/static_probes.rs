//! Attaching to static probes (USDT): every place of one, each with the number of the description
//! of its arguments.
//!
//! Programs read the descriptions in the map `__bpf_usdt_specs` (`<bpf/usdt.bpf.h>`). They find
//! their number by the cookie; where the kernel has none, in the map `__bpf_usdt_ip_to_spec_id`, by
//! the address that they are at.

use super::{Wanted, usdt};
use crate::catalog::{Binaries, StaticProbe};
use crate::loader::Loaded;
use crate::{AttachPoint, Error, Feature, Kernel, LinkFd, MapFd, Result, UpdateFlag, UprobePlace};

/// A static probe of a user program or library.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usdt<'a> {
    /// The file: a path, a program in `PATH`, a library's short name (`libc`).
    pub file: &'a str,
    /// Who provides it, for example `libc`.
    pub provider: &'a str,
    /// Its name, for example `setjmp`.
    pub name: &'a str,
    /// Only in this process.
    pub pid: Option<u32>,
    /// What `bpf_usdt_cookie` gives.
    pub cookie: u64,
}

/// How a probe is wrong.
type Wrong<'a> = dyn Fn(&str) -> Error + 'a;

impl<'a> Usdt<'a> {
    /// What a section names.
    pub(super) fn of(wanted: &'a Wanted<'_>) -> Result<Usdt<'a>> {
        let mut parts = wanted.target()?.splitn(3, ':');
        let (Some(file), Some(provider), Some(name)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(wanted.wrong("a static probe is path:provider:name"));
        };
        Ok(Usdt { file, provider, name, pid: None, cookie: 0 })
    }
}

impl Loaded {
    /// Attaches a program, of whatever section, to all places of a static probe.
    pub fn attach_usdt(
        &self,
        kernel: &dyn Kernel,
        binaries: &dyn Binaries,
        program: &str,
        probe: &Usdt<'_>,
    ) -> Result<LinkFd> {
        let (_, fd) = self.ready(program)?;
        let Usdt { file, provider, name, .. } = probe;
        let wrong =
            |why: &str| Error::invalid(format!("static probe {file}:{provider}:{name}: {why}"));
        let at = self.static_probe(kernel, binaries, probe, &wrong)?;
        kernel.attach(fd, &at, 0)
    }

    /// The point that all places of a static probe are. A kernel makes one link of them, or where
    /// it has no such thing one for each.
    pub(super) fn static_probe(
        &self,
        kernel: &dyn Kernel,
        binaries: &dyn Binaries,
        probe: &Usdt<'_>,
        wrong: &Wrong<'_>,
    ) -> Result<AttachPoint> {
        let Usdt { file, provider, name, pid, cookie } = *probe;
        let path = binaries.resolve(file, pid);
        let path = path.ok_or_else(|| wrong(&format!("there is no program or library {file}")))?;
        let found = binaries.static_probes(&path, provider, name).map_err(|why| wrong(&why))?;
        if found.is_empty() {
            return Err(wrong(&format!("{} has no such static probe", path.display())));
        }
        let mut places = Vec::new();
        for place in found {
            let number = self.describe(kernel, &place, cookie, wrong)?;
            let (offset, semaphore) = (place.offset, place.semaphore);
            let cookie = if kernel.supports(Feature::AttachCookie) { number } else { 0 };
            places.push(UprobePlace { offset, semaphore, cookie: cookie.into() });
        }
        Ok(AttachPoint::UprobeMulti { path, places, on_return: false, session: false, pid })
    }

    /// The number of the description of a place, which is stored if there is none like it yet.
    fn describe(
        &self,
        kernel: &dyn Kernel,
        place: &StaticProbe,
        cookie: u64,
        wrong: &Wrong<'_>,
    ) -> Result<u32> {
        let Some((map, spec)) = self.map_with_spec("__bpf_usdt_specs") else { return Ok(0) };
        let mut known = self.descriptions.borrow_mut();
        let what = (place.arguments.clone(), cookie);
        let next = known.len() as u32;
        let number = known.get(&what).copied().unwrap_or(next);
        if number == next {
            if number >= spec.max_entries {
                return Err(no_room(spec.max_entries));
            }
            let description = usdt::description(&place.arguments, spec.value_size, cookie);
            let description = description.map_err(|why| wrong(&why))?;
            kernel.map_update(map, &number.to_ne_bytes(), &description, UpdateFlag::Any)?;
            known.insert(what, number);
        }
        if let Some(numbers) = self.map("__bpf_usdt_ip_to_spec_id")
            && !kernel.supports(Feature::AttachCookie)
        {
            number_by_address(kernel, numbers, place, number)?;
        }
        Ok(number)
    }
}

fn number_by_address(
    kernel: &dyn Kernel,
    numbers: MapFd,
    place: &StaticProbe,
    number: u32,
) -> Result<()> {
    if place.relocatable {
        return Err(Error::Unsupported {
            what: "this kernel does not tell programs which static probe of a library, or of a \
                   position-independent program, they are at"
                .into(),
            help: Some("Linux 5.15 does".into()),
        });
    }
    let (key, value) = (place.address.to_ne_bytes(), number.to_ne_bytes());
    kernel.map_update(numbers, &key, &value, UpdateFlag::Any)
}

fn no_room(entries: u32) -> Error {
    Error::Invalid {
        what: format!("there is no room for more than {entries} static probes"),
        help: Some("define BPF_USDT_MAX_SPEC_CNT before <bpf/usdt.bpf.h>".into()),
    }
}
