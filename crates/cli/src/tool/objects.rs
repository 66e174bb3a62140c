//! Which object a command means: `id 5`, `name x`, `pinned /sys/fs/bpf/x`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bombus_btf::Btf;
use bombus_inspect::Extras;
use bombus_kernel::inspect::{Holder, Inspect, ObjectKind, ProgramInfo, Which};

use super::Tool;
use super::output::{Failed, because, because_of, reason};
use super::words::{Words, number};

/// Bytes of a name with its closing zero (`BPF_OBJ_NAME_LEN`).
const NAME_LEN: usize = 16;
/// Longest name that bpftool takes for a program, with its closing zero.
const FULL_NAME_LEN: usize = 128;

fn id(words: &mut Words) -> Result<u32, Failed> {
    let word = words.next().unwrap_or_default();
    match number(&word) {
        Some(id) => Ok(id as u32),
        None => Err(Failed::new(format!("can't parse {word} as ID"))),
    }
}

/// What bpftool calls a kind.
fn noun(kind: Option<ObjectKind>) -> &'static str {
    match kind {
        Some(ObjectKind::Program) => "prog",
        Some(ObjectKind::Map) => "map",
        Some(ObjectKind::Link) => "link",
        _ => "unknown",
    }
}

/// Eight bytes in hexadecimal.
fn tag(word: &str) -> Option<[u8; 8]> {
    let digits = word.as_bytes();
    let mut tag = [0; 8];
    for (index, byte) in tag.iter_mut().enumerate() {
        let pair = digits.get(index * 2..index * 2 + 2)?;
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(tag)
}

impl Tool {
    fn pinned(&self, words: &mut Words, kind: ObjectKind) -> Result<Which, Failed> {
        let path = words.path("file")?;
        match self.linux.pin_kind(&path) {
            Ok(found) if found == Some(kind) => Ok(Which::Pin(path)),
            Ok(found) => Err(Failed::new(format!("incorrect object type: {}", noun(found)))),
            Err(error) => {
                let outside = error.errno() == Some(libc::EACCES);
                let reason = match outside {
                    true => "directory not in bpf file system (bpffs)".to_owned(),
                    false => reason(&error),
                };
                Err(Failed::new(format!("bpf obj get ({}): {reason}", path.display())))
            }
        }
    }

    /// The programs that the next words name.
    pub(super) fn programs(&self, words: &mut Words) -> Result<Vec<Which>, Failed> {
        if words.take("id") {
            let id = id(words)?;
            let which = Which::Id(id);
            self.linux.program_info(&which).map_err(because(format_args!("get by id ({id})")))?;
            return Ok(vec![which]);
        }
        if words.take("tag") {
            let tag = words.next().as_deref().and_then(tag);
            let tag = tag.ok_or_else(|| Failed::new("can't parse tag"))?;
            return self.matching(|info| info.tag == tag);
        }
        if words.take("name") {
            let name = words.next().unwrap_or_default();
            if name.len() > FULL_NAME_LEN - 1 {
                return Err(Failed::new("can't parse name"));
            }
            return self.matching(|info| self.full_name(info) == name);
        }
        if words.take("pinned") {
            return Ok(vec![self.pinned(words, ObjectKind::Program)?]);
        }
        let word = words.peek().unwrap_or_default();
        Err(Failed::new(format!("expected 'id', 'tag', 'name' or 'pinned', got: '{word}'?")))
    }

    fn matching(&self, wanted: impl Fn(&ProgramInfo) -> bool) -> Result<Vec<Which>, Failed> {
        let mut found = Vec::new();
        for id in self
            .linux
            .object_ids(ObjectKind::Program)
            .map_err(|error| Failed::new(reason(&error)))?
        {
            match self.linux.program_info(&Which::Id(id)) {
                Ok(info) if wanted(&info) => found.push(Which::Id(id)),
                Ok(_) => {}
                Err(error) if error.errno() == Some(libc::ENOENT) => {}
                Err(error) => {
                    return Err(because(format_args!("can't get prog by id ({id})"))(error));
                }
            }
        }
        if found.is_empty() { Err(Failed::silent(None)) } else { Ok(found) }
    }

    /// The one program that the next words name.
    pub(super) fn program(&self, words: &mut Words) -> Result<Which, Failed> {
        one(self.programs(words)?, "several programs match this handle")
    }

    /// The maps that the next words name.
    pub(super) fn maps(&self, words: &mut Words) -> Result<Vec<Which>, Failed> {
        if words.take("id") {
            let id = id(words)?;
            let which = Which::Id(id);
            self.linux.map_info(&which).map_err(because(format_args!("get map by id ({id})")))?;
            return Ok(vec![which]);
        }
        if words.take("name") {
            let name = words.next().unwrap_or_default();
            if name.len() > NAME_LEN - 1 {
                return Err(Failed::new("can't parse name"));
            }
            let mut found = Vec::new();
            let ids = self.linux.object_ids(ObjectKind::Map);
            for id in ids.map_err(|error| Failed::new(reason(&error)))? {
                match self.linux.map_info(&Which::Id(id)) {
                    Ok(info) if info.name == name => found.push(Which::Id(id)),
                    Ok(_) => {}
                    Err(error) if error.errno() == Some(libc::ENOENT) => {}
                    Err(error) => {
                        return Err(because(format_args!("can't get map by id ({id})"))(error));
                    }
                }
            }
            return if found.is_empty() { Err(Failed::silent(None)) } else { Ok(found) };
        }
        if words.take("pinned") {
            return Ok(vec![self.pinned(words, ObjectKind::Map)?]);
        }
        let word = words.peek().unwrap_or_default();
        Err(Failed::new(format!("expected 'id', 'name' or 'pinned', got: '{word}'?")))
    }

    /// The one map that the next words name.
    pub(super) fn map(&self, words: &mut Words) -> Result<Which, Failed> {
        one(self.maps(words)?, "several maps match this handle")
    }

    /// The link that the next words name.
    pub(super) fn link(&self, words: &mut Words) -> Result<Which, Failed> {
        if words.take("id") {
            let id = id(words)?;
            let which = Which::Id(id);
            self.linux
                .link_info(&which)
                .map_err(because_of(format_args!("failed to get link with ID {id}")))?;
            return Ok(which);
        }
        if words.take("pinned") {
            return self.pinned(words, ObjectKind::Link);
        }
        let word = words.peek().unwrap_or_default();
        Err(Failed::new(format!("expected 'id' or 'pinned', got: '{word}'?")))
    }

    /// A program's name: the kernel keeps 15 characters, its types all.
    pub(super) fn full_name(&self, info: &ProgramInfo) -> String {
        let full = || {
            let code = self.linux.program_code(&Which::Id(info.id)).ok()?;
            let btf = self.types(info.btf_id)?;
            let function = code.functions.first()?;
            let name = btf.name(bombus_btf::TypeId(function.type_id));
            (!name.is_empty()).then(|| name.to_owned())
        };
        let cut_off = info.name.len() == NAME_LEN - 1 && info.btf_id != 0 && info.functions != 0;
        cut_off.then(full).flatten().unwrap_or_else(|| info.name.clone())
    }

    /// The types with this id.
    pub(super) fn types(&self, id: u32) -> Option<Btf> {
        let info = (id != 0).then(|| self.linux.btf_info(id).ok()).flatten()?;
        let data = self.linux.btf_data(id).ok()?;
        if info.kernel && info.name != "vmlinux" {
            return Btf::parse_split(data, self.kernel_types()?.into()).ok();
        }
        Btf::parse(data).ok()
    }

    /// The kernel's own types.
    pub(super) fn kernel_types(&self) -> Option<Btf> {
        Btf::parse(bombus_linux::KernelBtf::open().ok()?).ok()
    }

    /// The name of a device of something that is offloaded, when it is in our namespace.
    pub(super) fn device_of(
        &self,
        device: Option<bombus_kernel::inspect::Device>,
    ) -> Option<String> {
        use std::os::linux::fs::MetadataExt;
        let device = device?;
        let own = std::fs::metadata("/proc/self/ns/net").ok()?;
        let ours = own.st_dev() == device.netns_dev && own.st_ino() == device.netns_ino;
        ours.then(|| self.linux.device_name(device.ifindex)).flatten()
    }

    /// Gives an object a name; mounts a BPF file system for it where there is none.
    pub(super) fn pin_to(
        &self,
        path: &Path,
        pin: impl FnOnce() -> Result<(), bombus_kernel::Error>,
    ) -> Result<(), Failed> {
        self.mount_for(path)?;
        pin().map_err(because(format_args!("can't pin the object ({})", path.display())))
    }

    /// Makes sure that a file in this place would be in a BPF file system.
    pub(super) fn mount_for(&self, path: &Path) -> Result<(), Failed> {
        let shown = path.display();
        if path.exists() {
            return Err(Failed::new(format!(
                "can't pin BPF object: path '{shown}' already exists"
            )));
        }
        let directory = match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => Path::new("/"),
        };
        if self.linux.is_bpf_file_system(directory) {
            return Ok(());
        }
        let directory_shown = directory.display();
        if !directory.exists() {
            return Err(Failed::new(format!(
                "can't pin BPF object: dir '{directory_shown}' doesn't exist"
            )));
        }
        if self.options.no_mount {
            return Err(Failed::new(
                "no BPF file system found, not mounting it due to --nomount option",
            ));
        }
        self.linux.mount_bpf_file_system(directory).map_err(because(format_args!(
            "can't mount BPF file system to pin the object '{shown}': mount -t bpf bpf \
             {directory_shown} failed"
        )))
    }
}

fn one(found: Vec<Which>, several: &str) -> Result<Which, Failed> {
    match <[Which; 1]>::try_from(found) {
        Ok([which]) => Ok(which),
        Err(_) => Err(Failed::new(several)),
    }
}

/// Where objects of a kind are pinned, and who holds them.
pub(super) struct Known {
    pins: Option<HashMap<u32, Vec<PathBuf>>>,
    holders: std::collections::BTreeMap<u32, Vec<Holder>>,
}

impl Known {
    pub(super) fn new(tool: &Tool, kind: ObjectKind) -> Known {
        let mut pins = HashMap::<u32, Vec<PathBuf>>::new();
        if tool.options.pins {
            for (id, path) in tool.linux.pins(kind).unwrap_or_default() {
                pins.entry(id).or_default().push(path);
            }
        }
        let holders = tool.linux.holders(kind).unwrap_or_default();
        Known { pins: (!pins.is_empty()).then_some(pins), holders }
    }

    pub(super) fn of(&self, id: u32) -> Extras {
        Extras {
            pins: self.pins.as_ref().map(|pins| pins.get(&id).cloned().unwrap_or_default()),
            holders: self.holders.get(&id).cloned().unwrap_or_default(),
        }
    }
}
