//! Kfuncs of which the verifier knows more than is said of them (`special_kfunc_list`,
//! `kernel/bpf/verifier.c`), and what the names of arguments say.

macro_rules! special {
    ($($variant:ident = $name:ident;)*) => {
        /// A kfunc of which the verifier knows more than is said of it.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        #[expect(missing_docs, reason = "each is the kfunc of its name")]
        pub enum SpecialKfunc { $($variant,)* }

        impl SpecialKfunc {
            /// Every one, in the kernel's order.
            pub const ALL: &[SpecialKfunc] = &[$(SpecialKfunc::$variant,)*];

            /// The name in C.
            pub const fn name(self) -> &'static str {
                match self { $(SpecialKfunc::$variant => stringify!($name),)* }
            }

            /// The one of this name.
            pub fn from_name(name: &str) -> Option<SpecialKfunc> {
                SpecialKfunc::ALL.iter().copied().find(|kfunc| kfunc.name() == name)
            }
        }
    };
}

special! {
    ObjNewImpl = bpf_obj_new_impl;
    ObjNew = bpf_obj_new;
    ObjDropImpl = bpf_obj_drop_impl;
    ObjDrop = bpf_obj_drop;
    RefcountAcquireImpl = bpf_refcount_acquire_impl;
    RefcountAcquire = bpf_refcount_acquire;
    ListPushFrontImpl = bpf_list_push_front_impl;
    ListPushFront = bpf_list_push_front;
    ListPushBackImpl = bpf_list_push_back_impl;
    ListPushBack = bpf_list_push_back;
    ListAdd = bpf_list_add;
    ListPopFront = bpf_list_pop_front;
    ListPopBack = bpf_list_pop_back;
    ListDel = bpf_list_del;
    ListFront = bpf_list_front;
    ListBack = bpf_list_back;
    ListIsFirst = bpf_list_is_first;
    ListIsLast = bpf_list_is_last;
    ListEmpty = bpf_list_empty;
    CastToKernCtx = bpf_cast_to_kern_ctx;
    RdonlyCast = bpf_rdonly_cast;
    RcuReadLock = bpf_rcu_read_lock;
    RcuReadUnlock = bpf_rcu_read_unlock;
    RbtreeRemove = bpf_rbtree_remove;
    RbtreeAddImpl = bpf_rbtree_add_impl;
    RbtreeAdd = bpf_rbtree_add;
    RbtreeFirst = bpf_rbtree_first;
    RbtreeRoot = bpf_rbtree_root;
    RbtreeLeft = bpf_rbtree_left;
    RbtreeRight = bpf_rbtree_right;
    DynptrFromSkb = bpf_dynptr_from_skb;
    DynptrFromXdp = bpf_dynptr_from_xdp;
    DynptrFromSkbMeta = bpf_dynptr_from_skb_meta;
    XdpPullData = bpf_xdp_pull_data;
    DynptrSlice = bpf_dynptr_slice;
    DynptrSliceRdwr = bpf_dynptr_slice_rdwr;
    DynptrClone = bpf_dynptr_clone;
    PercpuObjNewImpl = bpf_percpu_obj_new_impl;
    PercpuObjNew = bpf_percpu_obj_new;
    PercpuObjDropImpl = bpf_percpu_obj_drop_impl;
    PercpuObjDrop = bpf_percpu_obj_drop;
    Throw = bpf_throw;
    WqSetCallback = bpf_wq_set_callback;
    PreemptDisable = bpf_preempt_disable;
    PreemptEnable = bpf_preempt_enable;
    IterCssTaskNew = bpf_iter_css_task_new;
    SessionCookie = bpf_session_cookie;
    GetKmemCache = bpf_get_kmem_cache;
    LocalIrqSave = bpf_local_irq_save;
    LocalIrqRestore = bpf_local_irq_restore;
    IterNumNew = bpf_iter_num_new;
    IterNumNext = bpf_iter_num_next;
    IterNumDestroy = bpf_iter_num_destroy;
    SetDentryXattr = bpf_set_dentry_xattr;
    RemoveDentryXattr = bpf_remove_dentry_xattr;
    ResSpinLock = bpf_res_spin_lock;
    ResSpinUnlock = bpf_res_spin_unlock;
    ResSpinLockIrqsave = bpf_res_spin_lock_irqsave;
    ResSpinUnlockIrqrestore = bpf_res_spin_unlock_irqrestore;
    DynptrFromFile = bpf_dynptr_from_file;
    DynptrFileDiscard = bpf_dynptr_file_discard;
    Trap = __bpf_trap;
    TaskWorkScheduleSignal = bpf_task_work_schedule_signal;
    TaskWorkScheduleResume = bpf_task_work_schedule_resume;
    ArenaAllocPages = bpf_arena_alloc_pages;
    ArenaFreePages = bpf_arena_free_pages;
    SessionIsReturn = bpf_session_is_return;
}

/// What the end of the name of a kfunc's argument says of it (`Documentation/bpf/kfuncs.rst`;
/// `is_kfunc_arg_*`, `kernel/bpf/verifier.c`), or that of a callback of a structure
/// (`prepare_arg_info`, `kernel/bpf/bpf_struct_ops.c`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ArgumentSuffix {
    /// The size of the memory before it.
    Size,
    /// The same, a constant.
    ConstSize,
    /// A constant.
    Const,
    /// Nobody looks at it.
    Ignored,
    /// A map.
    Map,
    /// A map that is known when the program is loaded.
    ConstMap,
    /// An object that the program allocated.
    Alloc,
    /// Memory that need not be initialized.
    Uninit,
    /// A pointer to an object that counts its references.
    RefcountedKptr,
    /// A pointer that may be null.
    Nullable,
    /// A reference that the program does not own will do.
    NonOwningAllowed,
    /// A string.
    Str,
    /// The state of interrupts.
    IrqFlag,
    /// An iterator.
    Iter,
    /// A pointer into the arena.
    Arena,
    /// A pointer into the arena, or null.
    ArenaNullable,
    /// Of a callback of a structure: a reference that is the program's.
    Ref,
}

/// The ends of names and what they say. The longer stand before those that they end with.
pub const ARGUMENT_SUFFIXES: &[(&str, ArgumentSuffix)] = &[
    ("__arena__nullable", ArgumentSuffix::ArenaNullable),
    ("__arena", ArgumentSuffix::Arena),
    ("__nullable", ArgumentSuffix::Nullable),
    ("__szk", ArgumentSuffix::ConstSize),
    ("__sz", ArgumentSuffix::Size),
    ("__const_map", ArgumentSuffix::ConstMap),
    ("__map", ArgumentSuffix::Map),
    ("__k", ArgumentSuffix::Const),
    ("__ign", ArgumentSuffix::Ignored),
    ("__alloc", ArgumentSuffix::Alloc),
    ("__uninit", ArgumentSuffix::Uninit),
    ("__refcounted_kptr", ArgumentSuffix::RefcountedKptr),
    ("__nonown_allowed", ArgumentSuffix::NonOwningAllowed),
    ("__str", ArgumentSuffix::Str),
    ("__irq_flag", ArgumentSuffix::IrqFlag),
    ("__iter", ArgumentSuffix::Iter),
    ("__ref", ArgumentSuffix::Ref),
];

/// What the name of an argument says of it.
pub fn argument_suffix(argument: &str) -> Option<ArgumentSuffix> {
    let (_, suffix) = ARGUMENT_SUFFIXES.iter().find(|(end, _)| argument.ends_with(end))?;
    Some(*suffix)
}
