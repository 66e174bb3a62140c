//! Which helpers work on which maps, and which programs may have which maps
//! (`check_map_func_compatibility`, `check_map_prog_compatibility`, `kernel/bpf/verifier.c`,
//! Linux 7.3).

use crate::proto::Caller;
use crate::{AttachType, HELPER_NAMES, MapType, ProgType};

/// Why a helper does not work on a map.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MapRefusal {
    /// It is not for maps of that type.
    Helper,
    /// Maps of sockets cannot be changed in a program of this type; beside it, the helper is not for
    /// them.
    SocketsInThisContext,
}

macro_rules! maps_and_helpers {
    ($($(#[$doc:meta])* $table:ident { $($($map:ident)|+ => $($helper:ident)*;)* })*) => {
        $($(#[$doc])* const $table: &[(&[MapType], &[&str])] = &[
            $((&[$(MapType::$map),+], &[$(stringify!($helper)),*])),*
        ];)*
    };
}

maps_and_helpers! {
    /// Of maps of these types, the helpers that work on them; on maps that are in no row, all do that
    /// are not for others.
    BY_MAP {
        ProgArray => tail_call;
        PerfEventArray =>
            perf_event_read perf_event_output skb_output perf_event_read_value xdp_output;
        Ringbuf =>
            ringbuf_output ringbuf_reserve ringbuf_query ringbuf_reserve_dynptr
            ringbuf_submit_dynptr ringbuf_discard_dynptr;
        UserRingbuf => user_ringbuf_drain;
        StackTrace => get_stackid;
        CgroupArray => skb_under_cgroup current_task_under_cgroup;
        CgroupStorage | PercpuCgroupStorage => get_local_storage;
        Devmap | DevmapHash | Xskmap => redirect_map map_lookup_elem;
        Cpumap => redirect_map;
        ArrayOfMaps | HashOfMaps => map_lookup_elem;
        Sockmap =>
            sk_redirect_map sock_map_update msg_redirect_map sk_select_reuseport map_lookup_elem;
        Sockhash =>
            sk_redirect_hash sock_hash_update msg_redirect_hash sk_select_reuseport
            map_lookup_elem;
        ReuseportSockarray => sk_select_reuseport;
        Queue | Stack => map_peek_elem map_pop_elem map_push_elem;
        SkStorage => sk_storage_get sk_storage_delete kptr_xchg;
        InodeStorage => inode_storage_get inode_storage_delete kptr_xchg;
        TaskStorage => task_storage_get task_storage_delete kptr_xchg;
        CgrpStorage => cgrp_storage_get cgrp_storage_delete kptr_xchg;
        BloomFilter => map_peek_elem map_push_elem;
        InsnArray => ;
    }

    /// The types of maps that these helpers are for; those in no row are for all.
    BY_HELPER {
        ProgArray => tail_call;
        PerfEventArray =>
            perf_event_read perf_event_output perf_event_read_value skb_output xdp_output;
        Ringbuf =>
            ringbuf_output ringbuf_reserve ringbuf_query ringbuf_reserve_dynptr
            ringbuf_submit_dynptr ringbuf_discard_dynptr;
        UserRingbuf => user_ringbuf_drain;
        StackTrace => get_stackid;
        CgroupArray => current_task_under_cgroup skb_under_cgroup;
        Devmap | DevmapHash | Cpumap | Xskmap => redirect_map;
        Sockmap => sk_redirect_map msg_redirect_map sock_map_update;
        Sockhash => sk_redirect_hash msg_redirect_hash sock_hash_update;
        CgroupStorage | PercpuCgroupStorage => get_local_storage;
        ReuseportSockarray | Sockmap | Sockhash => sk_select_reuseport;
        Queue | Stack => map_pop_elem;
        Queue | Stack | BloomFilter => map_peek_elem map_push_elem;
        PercpuArray | PercpuHash | LruPercpuHash => map_lookup_percpu_elem;
        SkStorage => sk_storage_get sk_storage_delete;
        InodeStorage => inode_storage_get inode_storage_delete;
        TaskStorage => task_storage_get task_storage_delete;
        CgrpStorage => cgrp_storage_get cgrp_storage_delete;
    }
}

/// Maps that programs may have that sleep.
const SLEEPABLE: &[MapType] = &[
    MapType::Hash,
    MapType::Rhash,
    MapType::LruHash,
    MapType::Array,
    MapType::PercpuHash,
    MapType::PercpuArray,
    MapType::LruPercpuHash,
    MapType::LpmTrie,
    MapType::ArrayOfMaps,
    MapType::HashOfMaps,
    MapType::Ringbuf,
    MapType::UserRingbuf,
    MapType::InodeStorage,
    MapType::SkStorage,
    MapType::TaskStorage,
    MapType::CgrpStorage,
    MapType::Queue,
    MapType::Stack,
    MapType::Arena,
    MapType::InsnArray,
    MapType::ProgArray,
];

/// Whether the helper with this number works on maps of a type, called by `caller`.
pub fn helper_takes_map(caller: &Caller, helper: u32, map: MapType) -> Result<(), MapRefusal> {
    let name = HELPER_NAMES.get(helper as usize).copied().unwrap_or_default();
    let row = BY_MAP.iter().find(|(maps, _)| maps.contains(&map));
    if row.is_some_and(|(_, helpers)| !helpers.contains(&name)) {
        if !matches!(map, MapType::Sockmap | MapType::Sockhash) {
            return Err(MapRefusal::Helper);
        }
        may_change_sockets(caller, name)?;
    }
    let mut rows = BY_HELPER.iter().filter(|(_, helpers)| helpers.contains(&name));
    match rows.next() {
        Some((maps, _)) if !maps.contains(&map) => Err(MapRefusal::Helper),
        _ => Ok(()),
    }
}

/// `may_update_sockmap`: where no socket in the map can be locked.
fn may_change_sockets(caller: &Caller, helper: &str) -> Result<(), MapRefusal> {
    let is_delete = match helper {
        "map_delete_elem" => true,
        "map_update_elem" => false,
        _ => return Err(MapRefusal::Helper),
    };
    let may = match caller.prog_type {
        ProgType::Tracing => caller.attach_type == AttachType::TraceIter,
        ProgType::SockOps => is_delete,
        ProgType::SkReuseport | ProgType::SkLookup => true,
        _ => false,
    };
    if may { Ok(()) } else { Err(MapRefusal::SocketsInThisContext) }
}

/// Whether programs that sleep may have maps of a type.
pub fn sleepable_takes_map(map: MapType) -> bool {
    SLEEPABLE.contains(&map)
}

/// What a helper gets or takes as a value of a map.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MapElement {
    /// Memory.
    Value,
    /// A map.
    Map,
    /// A `struct bpf_xdp_sock`.
    XdpSocket,
    /// A `struct bpf_sock`; given to the map, any socket (`ARG_PTR_TO_BTF_ID_SOCK_COMMON`).
    Socket,
}

impl MapType {
    /// What a look-up gives that finds something (`refine_map_lookup_value`).
    pub const fn element(self) -> MapElement {
        match self {
            MapType::ArrayOfMaps | MapType::HashOfMaps => MapElement::Map,
            MapType::Xskmap => MapElement::XdpSocket,
            MapType::Sockmap | MapType::Sockhash => MapElement::Socket,
            _ => MapElement::Value,
        }
    }

    /// Whether a look-up finds something whenever its key is a constant below the map's size
    /// (`can_elide_value_nullness`); not in a map that was made to be in another.
    pub const fn has_every_key(self) -> bool {
        matches!(self, MapType::Array | MapType::PercpuArray)
    }
}

impl ProgType {
    /// Whether it may run wherever the kernel is (`is_tracing_prog_type`): such programs cannot have
    /// maps with spin locks, lists or trees in their values.
    pub const fn runs_anywhere(self) -> bool {
        matches!(
            self,
            ProgType::Kprobe
                | ProgType::Tracepoint
                | ProgType::PerfEvent
                | ProgType::RawTracepoint
                | ProgType::RawTracepointWritable
        )
    }

    /// Whether it may have maps with spin locks in their values (`struct bpf_spin_lock`; of `struct
    /// bpf_res_spin_lock`, only socket filters may not).
    pub const fn may_spin_lock(self) -> bool {
        !self.runs_anywhere() && !matches!(self, ProgType::SocketFilter)
    }
}
