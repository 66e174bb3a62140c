//! The version of Linux from which helpers and types of programs, maps and attachments are there.
//! The newest rows say 7.3, and may be a little late.

use crate::{AttachType, HELPER_NAMES, MapType, ProgType};

/// A version of Linux: `6.12`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Version {
    /// The number before the dot.
    pub major: u8,
    /// The number after it.
    pub minor: u8,
}

impl Version {
    /// The version whose tables these are.
    pub const REFERENCE: Version = Version { major: 7, minor: 3 };
}

impl core::fmt::Display for Version {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

macro_rules! since {
    ($($(#[$doc:meta])* $table:ident: $item:ty { $($major:literal . $minor:literal: $first:expr;)* })*) => {
        $($(#[$doc])* const $table: &[(Version, $item)] =
            &[$((Version { major: $major, minor: $minor }, $first)),*];)*
    };
}

since! {
    /// Helpers have their numbers in the order in which they came: the first of each version.
    HELPERS: u32 {
        3 . 19: 1;
        4 . 1: 4;
        4 . 2: 12;
        4 . 3: 17;
        4 . 4: 23;
        4 . 5: 26;
        4 . 6: 27;
        4 . 8: 31;
        4 . 9: 37;
        4 . 10: 42;
        4 . 11: 45;
        4 . 12: 46;
        4 . 13: 48;
        4 . 14: 51;
        4 . 15: 54;
        4 . 16: 58;
        4 . 17: 60;
        4 . 18: 65;
        4 . 19: 81;
        4 . 20: 84;
        5 . 0: 91;
        5 . 1: 93;
        5 . 2: 99;
        5 . 3: 109;
        5 . 4: 110;
        5 . 5: 111;
        5 . 6: 116;
        5 . 7: 119;
        5 . 8: 125;
        5 . 9: 136;
        5 . 10: 142;
        5 . 11: 156;
        5 . 12: 163;
        5 . 13: 164;
        5 . 14: 166;
        5 . 15: 169;
        5 . 16: 176;
        5 . 17: 180;
        5 . 18: 186;
        5 . 19: 194;
        6 . 0: 204;
        6 . 1: 208;
        6 . 2: 210;
    }

    /// So do types of maps.
    MAPS: u32 {
        3 . 19: MapType::Hash as u32;
        4 . 2: MapType::ProgArray as u32;
        4 . 3: MapType::PerfEventArray as u32;
        4 . 6: MapType::PercpuHash as u32;
        4 . 8: MapType::CgroupArray as u32;
        4 . 10: MapType::LruHash as u32;
        4 . 11: MapType::LpmTrie as u32;
        4 . 12: MapType::ArrayOfMaps as u32;
        4 . 14: MapType::Devmap as u32;
        4 . 15: MapType::Cpumap as u32;
        4 . 18: MapType::Xskmap as u32;
        4 . 19: MapType::CgroupStorage as u32;
        4 . 20: MapType::PercpuCgroupStorage as u32;
        5 . 2: MapType::SkStorage as u32;
        5 . 4: MapType::DevmapHash as u32;
        5 . 6: MapType::StructOps as u32;
        5 . 8: MapType::Ringbuf as u32;
        5 . 10: MapType::InodeStorage as u32;
        5 . 11: MapType::TaskStorage as u32;
        5 . 16: MapType::BloomFilter as u32;
        6 . 1: MapType::UserRingbuf as u32;
        6 . 2: MapType::CgrpStorage as u32;
        6 . 9: MapType::Arena as u32;
        6 . 19: MapType::InsnArray as u32;
        7 . 3: MapType::Rhash as u32;
    }

    /// And types of programs.
    PROGRAMS: u32 {
        3 . 19: ProgType::SocketFilter as u32;
        4 . 1: ProgType::Kprobe as u32;
        4 . 7: ProgType::Tracepoint as u32;
        4 . 8: ProgType::Xdp as u32;
        4 . 9: ProgType::PerfEvent as u32;
        4 . 10: ProgType::CgroupSkb as u32;
        4 . 13: ProgType::SockOps as u32;
        4 . 14: ProgType::SkSkb as u32;
        4 . 15: ProgType::CgroupDevice as u32;
        4 . 17: ProgType::SkMsg as u32;
        4 . 18: ProgType::LwtSeg6local as u32;
        4 . 19: ProgType::SkReuseport as u32;
        4 . 20: ProgType::FlowDissector as u32;
        5 . 2: ProgType::CgroupSysctl as u32;
        5 . 3: ProgType::CgroupSockopt as u32;
        5 . 5: ProgType::Tracing as u32;
        5 . 6: ProgType::StructOps as u32;
        5 . 7: ProgType::Lsm as u32;
        5 . 9: ProgType::SkLookup as u32;
        5 . 14: ProgType::Syscall as u32;
        6 . 4: ProgType::Netfilter as u32;
    }

    /// And attach types.
    ATTACHMENTS: u32 {
        4 . 10: AttachType::CgroupInetIngress as u32;
        4 . 13: AttachType::CgroupSockOps as u32;
        4 . 14: AttachType::SkSkbStreamParser as u32;
        4 . 15: AttachType::CgroupDevice as u32;
        4 . 17: AttachType::SkMsgVerdict as u32;
        4 . 18: AttachType::CgroupUdp4Sendmsg as u32;
        4 . 20: AttachType::FlowDissector as u32;
        5 . 2: AttachType::CgroupSysctl as u32;
        5 . 3: AttachType::CgroupGetsockopt as u32;
        5 . 5: AttachType::TraceRawTp as u32;
        5 . 7: AttachType::ModifyReturn as u32;
        5 . 8: AttachType::TraceIter as u32;
        5 . 9: AttachType::CgroupInetSockRelease as u32;
        5 . 13: AttachType::SkSkbVerdict as u32;
        5 . 14: AttachType::SkReuseportSelect as u32;
        5 . 15: AttachType::PerfEvent as u32;
        5 . 18: AttachType::TraceKprobeMulti as u32;
        6 . 0: AttachType::LsmCgroup as u32;
        6 . 4: AttachType::StructOps as u32;
        6 . 6: AttachType::TcxIngress as u32;
        6 . 7: AttachType::CgroupUnixConnect as u32;
        6 . 10: AttachType::TraceKprobeSession as u32;
        6 . 13: AttachType::TraceUprobeSession as u32;
        7 . 0: AttachType::TraceFsession as u32;
        7 . 3: AttachType::TraceFentryMulti as u32;
    }
}

/// The version of the last row that begins at `number` or before it.
fn version(table: &[(Version, u32)], number: u32) -> Version {
    let after = table.partition_point(|(_, first)| *first <= number);
    table[after.saturating_sub(1)].0
}

/// The version from which the helper with this number is there; `None` for what is none.
pub fn helper_since(helper: u32) -> Option<Version> {
    let is_helper = (1..HELPER_NAMES.len()).contains(&(helper as usize));
    is_helper.then(|| version(HELPERS, helper))
}

impl MapType {
    /// The version from which maps of this type are there.
    pub fn since(self) -> Version {
        version(MAPS, self as u32)
    }
}

impl ProgType {
    /// The version from which programs of this type are there.
    pub fn since(self) -> Version {
        version(PROGRAMS, self as u32)
    }
}

impl AttachType {
    /// The version from which programs attach so.
    pub fn since(self) -> Version {
        version(ATTACHMENTS, self as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_ascend() {
        for table in [HELPERS, MAPS, PROGRAMS, ATTACHMENTS] {
            assert!(table.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1));
        }
    }

    #[test]
    fn versions() {
        let of = |major, minor| Version { major, minor };
        assert_eq!(helper_since(1), Some(of(3, 19)));
        assert_eq!(helper_since(211), Some(of(6, 2)));
        assert_eq!(helper_since(212), None);
        assert_eq!(helper_since(0), None);
        assert_eq!(ProgType::SkLookup.since(), of(5, 9));
        assert_eq!(ProgType::Lsm.since(), of(5, 7));
        assert_eq!(MapType::Ringbuf.since(), of(5, 8));
        assert_eq!(AttachType::TraceFexit.since(), of(5, 5));
        assert_eq!(of(6, 12).to_string(), "6.12");
    }
}
