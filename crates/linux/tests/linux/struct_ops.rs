//! Structures of callbacks: a congestion control that never sends more than it began with.

use bombus_btf::{Btf, Kind, Type, TypeId};
use bombus_kernel::{AttachPoint, AttachTo, Kernel, LinkFd, MapFd, MapTypes, UpdateFlag};
use bombus_linux::Linux;
use bombus_platform::{AttachType, MapType, ProgType};
use bombus_spec::MapSpec;
use libtest_mimic::Failed;

use crate::{Test, code, ensure, map_spec};

pub(crate) const TESTS: &[Test] =
    &[("struct_ops::by_link", by_link), ("struct_ops::by_update", by_update)];

/// What the kernel calls, beside the name that it cannot do without.
const NEEDED: [&str; 3] = ["ssthresh", "undo_cwnd", "cong_avoid"];

/// `BPF_F_LINK`.
const BY_LINK: u32 = 1 << 13;

fn size_of(types: &Btf, id: TypeId) -> Result<u32, Failed> {
    match types.ty(id) {
        Some(Type::Struct(composite)) => Ok(composite.size),
        other => Err(format!("{other:?} is not a structure").into()),
    }
}

/// Number, place in bytes.
fn member(types: &Btf, id: TypeId, name: &str) -> Result<(u32, usize), Failed> {
    let Some(Type::Struct(composite)) = types.ty(id) else { return Err("no structure".into()) };
    let found = composite.members.iter().enumerate().find(|(_, member)| member.name == name);
    let (number, member) = found.ok_or_else(|| format!("no member {name}"))?;
    Ok((number as u32, member.bit_offset as usize / 8))
}

/// A map with the structure stored.
fn congestion_control(linux: &Linux, name: &str, flags: u32) -> Result<Option<MapFd>, Failed> {
    let Some(blob) = linux.kernel_btf()? else {
        println!("skipped: this kernel does not describe its types");
        return Ok(None);
    };
    let types = Btf::parse(blob)?;
    let find = |name: &str| types.find(Kind::Struct, name).ok_or(format!("no {name}"));
    let (structure, value_type) =
        (find("tcp_congestion_ops")?, find("bpf_struct_ops_tcp_congestion_ops")?);
    let (_, start) = member(&types, value_type, "data")?;
    let value_size = size_of(&types, value_type)?;
    // The kernel wants to know the types of the map, though it looks only at its own.
    let mut own = bombus_btf::Builder::new();
    own.int("int", 4, true);
    let btf = linux.btf_load(&own.finish())?;
    let map = linux.map_create_typed(
        &MapSpec { flags, ..map_spec(MapType::StructOps, 4, value_size, 1) },
        MapTypes { btf: Some(btf), kernel_value_type: value_type.0, ..MapTypes::default() },
    )?;
    let mut value = vec![0; value_size as usize];
    let (_, place) = member(&types, structure, "name")?;
    value[start + place..][..name.len()].copy_from_slice(name.as_bytes());
    for needed in NEEDED {
        let (number, place) = member(&types, structure, needed)?;
        let to = AttachTo::Member { structure: structure.0, member: number, module: None };
        let nothing = code::always(&[], 2);
        let program = crate::load_for(linux, ProgType::StructOps, AttachType::NONE, to, &nothing)?;
        value[start + place..][..8].copy_from_slice(&u64::from(program.0).to_ne_bytes());
    }
    linux.map_update(map, &[0; 4], &value, UpdateFlag::Any)?;
    Ok(Some(map))
}

fn is_known(name: &str) -> Result<bool, Failed> {
    let known = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control")?;
    Ok(known.split_whitespace().any(|known| known == name))
}

fn attach(linux: &Linux, map: MapFd) -> bombus_kernel::Result<LinkFd> {
    // Programs have nothing to do with it: any handle will do.
    linux.attach(bombus_kernel::ProgFd(u32::MAX), &AttachPoint::StructOps { map }, 0)
}

fn by_link() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let name = format!("bombusl{}", std::process::id() % 10_000);
    if !linux.supports(bombus_kernel::Feature::StructOpsLink) {
        println!("skipped: callbacks by link need Linux 6.4");
        return Ok(());
    }
    let Some(map) = congestion_control(&linux, &name, BY_LINK)? else { return Ok(()) };
    ensure(!is_known(&name)?, || "it is known without a link".into())?;
    let link = attach(&linux, map)?;
    ensure(is_known(&name)?, || "it is not known".into())?;
    if let Some(other) = congestion_control(&linux, &name, BY_LINK)? {
        linux.link_update_map(link, other)?;
    }
    ensure(is_known(&name)?, || "it is not known any more".into())?;
    drop(linux);
    ensure(!is_known(&name)?, || "it is left behind".into())
}

fn by_update() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let name = format!("bombusu{}", std::process::id() % 10_000);
    let Some(map) = congestion_control(&linux, &name, 0)? else { return Ok(()) };
    let link = attach(&linux, map)?;
    ensure(is_known(&name)?, || "it is not known".into())?;
    linux.detach(link)?;
    ensure(!is_known(&name)?, || "it is left behind".into())?;
    let nothing = attach(&linux, map).unwrap_err().to_string();
    ensure(nothing.contains("store the structure"), || nothing.clone())
}
