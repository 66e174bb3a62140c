//! Programs of cgroups: `cgroup show` and `cgroup tree`.

use bombus_platform::AttachType;
use serde_json::{Map, Value};

use crate::names::{attach_type, named};

/// The hooks of cgroups, in the order in which bpftool asks for them.
pub const HOOKS: &[AttachType] = &[
    AttachType::CgroupInetIngress,
    AttachType::CgroupInetEgress,
    AttachType::CgroupInetSockCreate,
    AttachType::CgroupInetSockRelease,
    AttachType::CgroupInet4Bind,
    AttachType::CgroupInet6Bind,
    AttachType::CgroupInet4PostBind,
    AttachType::CgroupInet6PostBind,
    AttachType::CgroupInet4Connect,
    AttachType::CgroupInet6Connect,
    AttachType::CgroupUnixConnect,
    AttachType::CgroupInet4Getpeername,
    AttachType::CgroupInet6Getpeername,
    AttachType::CgroupUnixGetpeername,
    AttachType::CgroupInet4Getsockname,
    AttachType::CgroupInet6Getsockname,
    AttachType::CgroupUnixGetsockname,
    AttachType::CgroupUdp4Sendmsg,
    AttachType::CgroupUdp6Sendmsg,
    AttachType::CgroupUnixSendmsg,
    AttachType::CgroupUdp4Recvmsg,
    AttachType::CgroupUdp6Recvmsg,
    AttachType::CgroupUnixRecvmsg,
    AttachType::CgroupSockOps,
    AttachType::CgroupDevice,
    AttachType::CgroupSysctl,
    AttachType::CgroupGetsockopt,
    AttachType::CgroupSetsockopt,
    AttachType::LsmCgroup,
];

/// The old names of hooks, which may be shortened.
const OLD_NAMES: &[(AttachType, &str)] = &[
    (AttachType::CgroupInetIngress, "ingress"),
    (AttachType::CgroupInetEgress, "egress"),
    (AttachType::CgroupInetSockCreate, "sock_create"),
    (AttachType::CgroupSockOps, "sock_ops"),
    (AttachType::CgroupDevice, "device"),
    (AttachType::CgroupInet4Bind, "bind4"),
    (AttachType::CgroupInet6Bind, "bind6"),
    (AttachType::CgroupInet4Connect, "connect4"),
    (AttachType::CgroupInet6Connect, "connect6"),
    (AttachType::CgroupInet4PostBind, "post_bind4"),
    (AttachType::CgroupInet6PostBind, "post_bind6"),
    (AttachType::CgroupUdp4Sendmsg, "sendmsg4"),
    (AttachType::CgroupUdp6Sendmsg, "sendmsg6"),
    (AttachType::CgroupSysctl, "sysctl"),
    (AttachType::CgroupUdp4Recvmsg, "recvmsg4"),
    (AttachType::CgroupUdp6Recvmsg, "recvmsg6"),
    (AttachType::CgroupGetsockopt, "getsockopt"),
    (AttachType::CgroupSetsockopt, "setsockopt"),
    (AttachType::CgroupInet4Getpeername, "getpeername4"),
    (AttachType::CgroupInet6Getpeername, "getpeername6"),
    (AttachType::CgroupInet4Getsockname, "getsockname4"),
    (AttachType::CgroupInet6Getsockname, "getsockname6"),
    (AttachType::CgroupInetSockRelease, "sock_release"),
];

/// The hook with this name, or with an old name that starts so.
pub fn hook(name: &str) -> Option<u32> {
    let whole = AttachType::ALL.iter().find(|each| each.name() == name);
    let old = || OLD_NAMES.iter().find(|(_, old)| old.starts_with(name)).map(|(hook, _)| hook);
    whole.or_else(old).map(|hook| *hook as u32)
}

/// A program of a cgroup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attached {
    /// The program's id.
    pub id: u32,
    /// `enum bpf_attach_type`.
    pub attach_type: u32,
    /// `BPF_F_ALLOW_*`; `None` where ancestors' programs are shown, too.
    pub flags: Option<u32>,
    /// The program's whole name.
    pub name: String,
    /// The hook of `lsm_cgroup`, by name.
    pub btf_name: Option<String>,
    /// BTF object of that hook.
    pub btf_obj_id: u32,
    /// Type of that hook.
    pub btf_id: u32,
}

fn flags_text(flags: u32) -> String {
    match flags {
        0 => String::new(),
        1 => "override".to_owned(),
        2 => "multi".to_owned(),
        flags => format!("unknown({flags:x})"),
    }
}

/// The line above programs.
pub fn title(effective: bool) -> String {
    match effective {
        true => format!("{:<8} {:<15} {:<15}\n", "ID", "AttachType", "Name"),
        false => format!("{:<8} {:<15} {:<15} {:<15}\n", "ID", "AttachType", "AttachFlags", "Name"),
    }
}

impl Attached {
    /// The text form.
    pub fn text(&self, indented: bool) -> String {
        let indent = if indented { "    " } else { "" };
        let hook = match attach_type(self.attach_type) {
            Some(name) => format!("{name:<15}"),
            None => format!("type {:<10}", self.attach_type),
        };
        let flags = match self.flags {
            Some(flags) => format!(" {:<15}", flags_text(flags)),
            None => String::new(),
        };
        let target = match &self.btf_name {
            Some(name) => format!(" {name:<15}"),
            None if self.btf_id != 0 => {
                format!(" attach_btf_obj_id={} attach_btf_id={}", self.btf_obj_id, self.btf_id)
            }
            None => String::new(),
        };
        format!("{indent}{:<8} {hook}{flags} {:<15}{target}\n", self.id, self.name)
    }

    /// The JSON form.
    pub fn json(&self) -> Value {
        let mut object = Map::new();
        object.insert("id".into(), self.id.into());
        let hook = named(attach_type(self.attach_type), self.attach_type);
        object.insert("attach_type".into(), hook);
        if let Some(flags) = self.flags {
            object.insert("attach_flags".into(), flags_text(flags).into());
        }
        object.insert("name".into(), self.name.clone().into());
        if let Some(name) = &self.btf_name {
            object.insert("attach_btf_name".into(), name.clone().into());
        }
        object.insert("attach_btf_obj_id".into(), self.btf_obj_id.into());
        object.insert("attach_btf_id".into(), self.btf_id.into());
        object.into()
    }
}
