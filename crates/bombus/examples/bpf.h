/* What the examples need of the BPF headers, so that clang alone can compile them. Larger programs
 * include <bpf/bpf_helpers.h> of libbpf. Numbers are those of include/uapi/linux/bpf.h. */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
/* Structures whose fields are found in the running kernel's, wherever they are there (CO-RE). */
#define KERNEL_TYPE __attribute__((preserve_access_index))

/* Definitions of maps: numbers are array lengths, types are pointers to them. */
#define UINT(name, value) int(*name)[value]
#define TYPE(name, value) value *name

enum map_type { HASH = 1, ARRAY = 2, PERCPU_ARRAY = 6, LPM_TRIE = 11, RINGBUF = 27 };
enum { ANY = 0, NO_PREALLOC = 1 };

static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static long (*const map_update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*const map_delete)(void *map, const void *key) = (void *)3;
static u64 (*const ktime_get_ns)(void) = (void *)5;
static u64 (*const get_current_pid_tgid)(void) = (void *)14;
static long (*const get_current_comm)(void *to, u32 size) = (void *)16;
static long (*const skb_load_bytes)(const void *skb, u32 offset, void *to, u32 len) = (void *)26;
static void *(*const ringbuf_reserve)(void *ring, u64 size, u64 flags) = (void *)131;
static void (*const ringbuf_submit)(void *record, u64 flags) = (void *)132;

char LICENSE[] SEC("license") = "Dual MIT/GPL";
