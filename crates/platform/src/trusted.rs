//! Pointers in structures of the kernel that may be trusted when the structure is
//! (`BTF_TYPE_SAFE_*`, `kernel/bpf/verifier.c`, Linux 7.3).

/// How far a pointer may be trusted that was read from a trusted structure.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Trust {
    /// As long as RCU protects it; it is not null.
    Rcu,
    /// As long as RCU protects it; it may be null.
    RcuOrNull,
    /// Always; it is not null.
    Trusted,
    /// Always; it may be null.
    TrustedOrNull,
}

macro_rules! trusted {
    ($($trust:ident: $($structure:ident . $member:ident)*;)*) => {
        /// Structure, member, how far.
        pub const TRUSTED_FIELDS: &[(&str, &str, Trust)] =
            &[$($((stringify!($structure), stringify!($member), Trust::$trust)),*),*];
    };
}

trusted! {
    Rcu:
        task_struct.cpus_ptr task_struct.cgroups task_struct.real_parent task_struct.group_leader
        cgroup.kn css_set.dfl_cgrp cgroup_subsys_state.cgroup;
    RcuOrNull: mm_struct.exe_file mm_struct.owner sk_buff.sk request_sock.sk;
    Trusted:
        bpf_iter_meta.seq bpf_iter__task.meta bpf_iter__task.task linux_binprm.file file.f_inode;
    TrustedOrNull: dentry.d_inode socket.sk vm_area_struct.vm_mm vm_area_struct.vm_file;
}

/// How far a member of a trusted structure may be trusted.
pub fn trusted_field(structure: &str, member: &str) -> Option<Trust> {
    let row = TRUSTED_FIELDS.iter().find(|row| (row.0, row.1) == (structure, member))?;
    Some(row.2)
}

/// Structures that RCU keeps alive, so that a pointer to one that is kept in a map may be read
/// (`rcu_protected_types`). The program's own structures are such, too.
pub const RCU_PROTECTED: &[&str] =
    &["prog_test_ref_kfunc", "cgroup", "bpf_cpumask", "task_struct", "bpf_crypto_ctx", "bpf_ksock"];
