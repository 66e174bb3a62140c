// What the programs here need of the kernel's and libbpf's headers.
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef int __s32;
typedef unsigned long long __u64;
typedef long long __s64;

#define SEC(name) __attribute__((section(name), used))
#define MAP(name, value) int (*name)[value]
#define __type(name, value) value *name
#define HASH 1
#define ARRAY 2
#define PERF_EVENT_ARRAY 4
#define RINGBUF 27

struct xdp_md { __u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex; };
struct __sk_buff { __u32 before[19], data, data_end; };
struct bpf_spin_lock { __u32 value; };
struct bpf_sock_tuple { __u32 saddr, daddr; __u16 sport, dport; };

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) = (void *)2;
static __u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static __u32 (*bpf_get_prandom_u32)(void) = (void *)7;
static __u64 (*bpf_get_current_task)(void) = (void *)35;
static long (*bpf_perf_event_output)(void *ctx, void *map, __u64 flags, void *data, __u64 size) = (void *)25;
static long (*bpf_xdp_adjust_head)(struct xdp_md *ctx, int delta) = (void *)44;
static void *(*bpf_sk_lookup_tcp)(void *ctx, void *tuple, __u32 size, __u64 netns, __u64 flags) = (void *)84;
static long (*bpf_sk_release)(void *sock) = (void *)86;
static void (*bpf_spin_lock)(struct bpf_spin_lock *lock) = (void *)93;
static void (*bpf_spin_unlock)(struct bpf_spin_lock *lock) = (void *)94;
static long (*bpf_probe_read_user)(void *to, __u32 size, const void *from) = (void *)112;
static void *(*bpf_ringbuf_reserve)(void *map, __u64 size, __u64 flags) = (void *)131;
static void (*bpf_ringbuf_submit)(void *record, __u64 flags) = (void *)132;
static long (*bpf_copy_from_user)(void *to, __u32 size, const void *from) = (void *)148;
static void *(*bpf_get_current_task_btf)(void) = (void *)158;

static long (*bpf_dynptr_read)(void *to, __u32 size, const void *from, __u32 offset, __u64 flags) = (void *)201;

struct { MAP(type, PERF_EVENT_ARRAY); MAP(max_entries, 4); MAP(key_size, 4); MAP(value_size, 4); } events SEC(".maps");
