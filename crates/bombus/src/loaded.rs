//! Loaded objects: their programs, maps and variables.

use std::fmt;

use bombus_kernel::{AttachPoint, Kernel, Object, Places, ProgFd, TestRun, Usdt};
use bombus_symbols::Files;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{Error, Host, Link, Map, Result, View};

/// An object in a kernel. Dropping it lets go of its maps and programs; what is attached stays so
/// for as long as its [`Link`] lives.
pub struct Loaded<'k> {
    kernel: &'k dyn Host,
    inner: bombus_kernel::Loaded,
    /// Maps that are the caller's and are not closed here.
    borrowed: Vec<bombus_kernel::MapFd>,
}

impl<'k> Loaded<'k> {
    pub(crate) fn new(kernel: &'k dyn Host, inner: bombus_kernel::Loaded) -> Loaded<'k> {
        Loaded { kernel, inner, borrowed: Vec::new() }
    }

    pub(crate) fn borrowing(mut self, maps: Vec<bombus_kernel::MapFd>) -> Loaded<'k> {
        self.borrowed = maps;
        self
    }

    /// A map as a typed view, or as [`Map`] for no view in particular. Fails when the view does not
    /// fit the map.
    pub fn map<'l, V: View<'l>>(&'l self, name: &str) -> Result<V> {
        let (fd, spec) = self
            .inner
            .map_with_spec(name)
            .ok_or_else(|| Error::mismatch(format!("there is no map {name}")))?;
        V::of(Map::borrowed(self.kernel, fd, spec))
    }

    /// Every map with its name, in the object's order.
    pub fn maps(&self) -> impl Iterator<Item = Map<'_>> {
        self.inner.all_maps().map(|(fd, spec)| Map::borrowed(self.kernel, fd, spec))
    }

    /// A program. Fails when there is none of the name, or when it is not loaded.
    pub fn program(&self, name: &str) -> Result<Program<'_>> {
        let about = self.inner.all_programs().iter().find(|program| program.name == name);
        let about =
            about.ok_or_else(|| Error::mismatch(format!("the object has no program {name}")))?;
        let fd = about.fd;
        let fd = fd.ok_or_else(|| Error::mismatch(format!("program {name} is not loaded")))?;
        Ok(Program { kernel: self.kernel, loaded: &self.inner, name: &about.name, fd })
    }

    /// The programs that are loaded, in the object's order.
    pub fn programs(&self) -> impl Iterator<Item = Program<'_>> {
        self.inner.all_programs().iter().filter_map(|program| {
            let (kernel, loaded) = (self.kernel, &self.inner);
            Some(Program { kernel, loaded, name: &program.name, fd: program.fd? })
        })
    }

    /// Attaches everything that says itself where to (`SEC("tp/sched/sched_switch")`); programs that
    /// need a device, a cgroup or the like are left alone. When one fails, none is attached.
    pub fn attach_all(&self) -> Result<Link<'k>> {
        let (files, catalog) = (Files::new(), self.kernel.catalog());
        let places = Places { binaries: &files, catalog: &*catalog };
        Ok(Link::new(self.kernel, self.inner.attach_all(self.kernel, places)?))
    }

    /// Puts a structure of kernel callbacks to use. One of `.struct_ops.link` gives a link; any
    /// other is in use until [`Loaded::detach_structure`].
    pub fn attach_structure(&self, name: &str) -> Result<Option<Link<'k>>> {
        let link = self.inner.attach_structure(self.kernel, name)?;
        Ok(link.map(|fd| Link::new(self.kernel, vec![fd])))
    }

    /// Takes a structure of kernel callbacks that has no link out of use.
    pub fn detach_structure(&self, name: &str) -> Result<()> {
        Ok(self.inner.detach_structure(self.kernel, name)?)
    }

    /// A global variable as it is now.
    pub fn variable<T: FromBytes>(&self, name: &str) -> Result<T> {
        let bytes = self.inner.variable(self.kernel, name)?;
        T::read_from_bytes(&bytes).map_err(|_| {
            Error::mismatch(format!(
                "variable {name} has {} bytes, not {}",
                bytes.len(),
                size_of::<T>()
            ))
        })
    }

    /// Changes a global variable. Constants can be changed only before: [`crate::Object::set`].
    pub fn set_variable<T: IntoBytes + Immutable>(&self, name: &str, value: T) -> Result<()> {
        Ok(self.inner.set_variable(self.kernel, name, value.as_bytes())?)
    }

    /// The kernel that it is in.
    pub fn kernel(&self) -> &'k dyn Host {
        self.kernel
    }
}

impl Drop for Loaded<'_> {
    fn drop(&mut self) {
        let programs = self.inner.programs.iter().flatten().map(|&fd| Object::Program(fd));
        let maps = self.inner.maps.iter().flatten().filter(|map| !self.borrowed.contains(map));
        // What cannot be closed is closed with the kernel.
        programs
            .chain(maps.map(|&fd| Object::Map(fd)))
            .for_each(|object| drop(Kernel::close(self.kernel, object)));
    }
}

impl fmt::Debug for Loaded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// A loaded program of an object.
#[derive(Clone, Copy)]
pub struct Program<'l> {
    kernel: &'l dyn Host,
    loaded: &'l bombus_kernel::Loaded,
    name: &'l str,
    fd: ProgFd,
}

impl<'l> Program<'l> {
    /// Its name in the object.
    pub fn name(&self) -> &'l str {
        self.name
    }

    /// Its handle, for the commands of [`bombus_kernel::Kernel`].
    pub fn fd(&self) -> ProgFd {
        self.fd
    }

    /// Attaches it to what its section names. Fails when the section does not say all.
    pub fn attach(&self) -> Result<Link<'l>> {
        let (files, catalog) = (Files::new(), self.kernel.catalog());
        let places = Places { binaries: &files, catalog: &*catalog };
        Ok(Link::new(self.kernel, vec![self.loaded.attach(self.kernel, places, self.name)?]))
    }

    /// Attaches it to this.
    pub fn attach_to(&self, at: &AttachPoint) -> Result<Link<'l>> {
        self.attach_with_cookie(at, 0)
    }

    /// Attaches it to this; `cookie` is what `bpf_get_attach_cookie` gives it there.
    pub fn attach_with_cookie(&self, at: &AttachPoint, cookie: u64) -> Result<Link<'l>> {
        let link = self.kernel.attach(self.fd, at, cookie)?;
        Ok(Link::new(self.kernel, vec![link]))
    }

    /// Attaches it to a static probe of a user program or library, whose arguments it reads with
    /// `<bpf/usdt.bpf.h>`: for `SEC("usdt")`, which does not say which.
    pub fn attach_usdt(&self, probe: &Usdt<'_>) -> Result<Link<'l>> {
        let link = self.loaded.attach_usdt(self.kernel, &Files::new(), self.name, probe)?;
        Ok(Link::new(self.kernel, vec![link]))
    }

    /// Attaches it to the packets that a network device receives.
    pub fn attach_xdp(&self, device: &str, flags: u32) -> Result<Link<'l>> {
        let ifindex = self.kernel.interface_index(device)?;
        self.attach_to(&AttachPoint::Xdp { ifindex, flags })
    }

    /// Runs it once with this packet and context; gives what it returned, and leaves in `run` what
    /// it made of them.
    pub fn test_run(&self, run: &mut TestRun) -> Result<u32> {
        self.kernel.prog_run(self.fd, run)?;
        Ok(run.retval)
    }

    /// Gives it a name in a BPF file system; it lives on until that is removed.
    pub fn pin(&self, path: impl AsRef<std::path::Path>) -> Result<()> {
        Ok(self.kernel.pin(Object::Program(self.fd), path.as_ref())?)
    }
}

impl fmt::Debug for Program<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Program({}, {})", self.name, self.fd.0)
    }
}
