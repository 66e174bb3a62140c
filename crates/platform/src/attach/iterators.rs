//! Iterators: what programs get of each element (`struct bpf_iter_reg`, Linux 7.3).

/// What an argument of an iterator's program is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IteratorArgument {
    /// A structure of the kernel of this name, or null (`PTR_TO_BTF_ID_OR_NULL`).
    BtfIdOrNull(&'static str),
    /// The same, and the kernel vouches for it (`PTR_TRUSTED`).
    TrustedOrNull(&'static str),
    /// Memory that may be read, or null; its size is the map's key's (`PTR_TO_BUF | MEM_RDONLY`).
    KeyOrNull,
    /// Memory that may be written, or null; its size is the map's value's (`PTR_TO_BUF`).
    ValueOrNull,
}

/// An iterator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Iterator {
    /// Its name: `task`.
    pub name: &'static str,
    /// The arguments of which more is known than their types say, by name: members of `struct
    /// bpf_iter__NAME`.
    pub arguments: &'static [(&'static str, IteratorArgument)],
    /// Whether other tasks may run between elements (`BPF_ITER_RESCHED`).
    pub reschedules: bool,
}

macro_rules! iterators {
    ($($name:ident ($($argument:ident: $kind:ident $(($struct:ident))?),*) $($reschedules:ident)?;)*) => {
        /// Every one. Those of packet protocols and devices are there if the kernel was built so.
        pub const ITERATORS: &[Iterator] = &[$(Iterator {
            name: stringify!($name),
            arguments: &[$((
                stringify!($argument),
                IteratorArgument::$kind $((stringify!($struct)))?,
            )),*],
            reschedules: iterators!(@ $($reschedules)?),
        }),*];
    };
    (@ reschedules) => { true };
    (@) => { false };
}

iterators! {
    bpf_link(link: BtfIdOrNull(bpf_link));
    bpf_map(map: TrustedOrNull(bpf_map));
    bpf_map_elem(key: KeyOrNull, value: ValueOrNull);
    bpf_prog(prog: BtfIdOrNull(bpf_prog));
    bpf_sk_storage_map(sk: BtfIdOrNull(sock), value: ValueOrNull);
    cgroup(cgroup: TrustedOrNull(cgroup)) reschedules;
    dmabuf(dmabuf: BtfIdOrNull(dma_buf)) reschedules;
    ipv6_route(rt: BtfIdOrNull(fib6_info));
    kmem_cache(s: TrustedOrNull(kmem_cache)) reschedules;
    ksym(ksym: BtfIdOrNull(kallsym_iter)) reschedules;
    netlink(sk: BtfIdOrNull(netlink_sock));
    sockmap(key: KeyOrNull, sk: BtfIdOrNull(sock));
    task(task: TrustedOrNull(task_struct)) reschedules;
    task_file(task: BtfIdOrNull(task_struct), file: BtfIdOrNull(file)) reschedules;
    task_vma(task: BtfIdOrNull(task_struct), vma: BtfIdOrNull(vm_area_struct)) reschedules;
    tcp(sk_common: TrustedOrNull(sock_common));
    udp(udp_sk: TrustedOrNull(udp_sock));
    unix(unix_sk: BtfIdOrNull(unix_sock));
}

/// The iterator whose function this is: `bpf_iter_task`.
pub fn iterator(function: &str) -> Option<&'static Iterator> {
    let name = function.strip_prefix("bpf_iter_")?;
    ITERATORS.iter().find(|iterator| iterator.name == name)
}
