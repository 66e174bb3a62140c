//! What values of maps and objects of programs hold beside numbers: locks, timers, pointers, lists,
//! trees (`enum btf_field_type`, `include/linux/bpf.h`; `btf_get_field_type`, `kernel/bpf/btf.c`;
//! `map_check_btf`, `kernel/bpf/syscall.c`; Linux 7.3).

use crate::MapType::{self, *};

const LOCKS: &[MapType] =
    &[Hash, Rhash, Array, CgroupStorage, SkStorage, InodeStorage, TaskStorage, CgrpStorage];
const DEFERRED: &[MapType] = &[Hash, Rhash, LruHash, Array];
const POINTERS: &[MapType] = &[
    Hash,
    Rhash,
    PercpuHash,
    LruHash,
    LruPercpuHash,
    Array,
    PercpuArray,
    SkStorage,
    InodeStorage,
    TaskStorage,
    CgrpStorage,
];
const USER_POINTERS: &[MapType] = &[TaskStorage];
const GRAPHS: &[MapType] = &[Hash, LruHash, Array];
const NONE: &[MapType] = &[];

macro_rules! value_fields {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $size:literal / $align:literal,
        unique: $unique:literal, in $maps:ident;)*) => {
        /// A part of a value of which the kernel takes care.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum ValueField { $($(#[$doc])* $variant,)* }

        impl ValueField {
            /// Every one, in the order in which the kernel looks for them.
            pub const ALL: &[ValueField] = &[$(ValueField::$variant,)*];

            /// The structure's name; of pointers, the type tag.
            pub const fn name(self) -> &'static str {
                match self { $(ValueField::$variant => $name,)* }
            }

            /// Bytes.
            pub const fn size(self) -> u32 {
                match self { $(ValueField::$variant => $size,)* }
            }

            /// What its offset is a multiple of.
            pub const fn align(self) -> u32 {
                match self { $(ValueField::$variant => $align,)* }
            }

            /// Whether a value has at most one.
            pub const fn is_unique(self) -> bool {
                match self { $(ValueField::$variant => $unique,)* }
            }

            /// The maps whose values may have it.
            pub const fn maps(self) -> &'static [MapType] {
                match self { $(ValueField::$variant => $maps,)* }
            }
        }
    };
}

value_fields! {
    /// A spin lock.
    SpinLock = "bpf_spin_lock", 4 / 4, unique: true, in LOCKS;
    /// A lock that notices deadlocks.
    ResSpinLock = "bpf_res_spin_lock", 4 / 4, unique: true, in LOCKS;
    /// A timer.
    Timer = "bpf_timer", 16 / 8, unique: true, in DEFERRED;
    /// Work that is done later, where sleeping is allowed.
    Workqueue = "bpf_wq", 16 / 8, unique: true, in DEFERRED;
    /// Work that a task does.
    TaskWork = "bpf_task_work", 8 / 8, unique: true, in DEFERRED;
    /// A list.
    ListHead = "bpf_list_head", 16 / 8, unique: false, in GRAPHS;
    /// What makes an object an element of a list; not in values of maps.
    ListNode = "bpf_list_node", 24 / 8, unique: false, in NONE;
    /// A tree.
    RbRoot = "bpf_rb_root", 16 / 8, unique: false, in GRAPHS;
    /// What makes an object an element of a tree; not in values of maps.
    RbNode = "bpf_rb_node", 32 / 8, unique: false, in NONE;
    /// How many references to an object there are.
    Refcount = "bpf_refcount", 4 / 4, unique: true, in POINTERS;
    /// A pointer to an object that may be gone.
    KptrUntrusted = "kptr_untrusted", 8 / 8, unique: false, in POINTERS;
    /// A pointer to an object that it keeps.
    Kptr = "kptr", 8 / 8, unique: false, in POINTERS;
    /// A pointer to an object of which every CPU has one.
    PercpuKptr = "percpu_kptr", 8 / 8, unique: false, in POINTERS;
    /// A pointer to memory of user space.
    Uptr = "uptr", 8 / 8, unique: false, in USER_POINTERS;
}

/// Such parts in one value, at most (`BTF_FIELDS_MAX`, `include/linux/bpf.h`).
pub const MAX_VALUE_FIELDS: usize = 11;

impl ValueField {
    /// The one whose structure or type tag has this name.
    pub fn from_name(name: &str) -> Option<ValueField> {
        ValueField::ALL.iter().copied().find(|field| field.name() == name)
    }
}

/// Structures of the kernel that a [`ValueField::Kptr`] may point to, and what is called when the
/// value goes (`register_btf_id_dtor_kfuncs`).
pub const DESTRUCTORS: &[(&str, &str)] = &[
    ("task_struct", "bpf_task_release_dtor"),
    ("cgroup", "bpf_cgroup_release_dtor"),
    ("bpf_cpumask", "bpf_cpumask_release_dtor"),
    ("bpf_crypto_ctx", "bpf_crypto_ctx_release_dtor"),
    ("bpf_ksock", "bpf_ksock_release_dtor"),
    ("sk_buff", "bpf_kfree_skb_dtor"),
    ("prog_test_ref_kfunc", "bpf_kfunc_call_test_release_dtor"),
    ("prog_test_member", "bpf_kfunc_call_memb_release_dtor"),
];

impl MapType {
    /// Whether code may hold the address of a value (`BPF_PSEUDO_MAP_VALUE`;
    /// `map_direct_value_addr`).
    pub const fn has_direct_value(self) -> bool {
        matches!(self, Array | PercpuArray | Arena | InsnArray)
    }

    /// Whether a function of the program can be called for every element
    /// (`map_for_each_callback`).
    pub const fn has_for_each(self) -> bool {
        matches!(self, Hash | Rhash | LruHash | PercpuHash | LruPercpuHash | Array | PercpuArray)
    }
}
