/* What the programs of `cargo xtask bench vm` share. Each is one body for every engine: BPF by clang,
 * and the machine's own code by gcc and clang. */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

/* Bytes at `mem`, which `prepare` has filled. */
#define MEMORY 16384

#ifdef __bpf__
/* Gives 0. */
static u64 (*const helper)(u64 value) = (void *)100;
/* Address of the value of a key in a table, or 0. */
static u64 *(*const lookup)(void *table, u32 *key) = (void *)101;
#else
u64 helper(u64 value);
u64 *lookup(void *table, u32 *key);
#endif

#define noinline __attribute__((noinline))

/* A table of 256 places: linear probing, no empty place is 0 as a key. */
struct table {
    struct place {
        u32 key, unused;
        u64 value;
    } places[256];
};

static inline u32 place_of(u32 key) { return key * 0x9e3779b1u >> 24; }

#ifdef __bpf__
__attribute__((section("bench")))
#endif
u64 program(u8 *mem, u64 len);

#ifndef __bpf__
void prepare(u8 *mem);

/* Numbers that look random. */
static inline void scramble(u8 *mem, u64 len) {
    u64 state = 0x9e3779b97f4a7c15;
    for (u64 i = 0; i < len; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        mem[i] = state >> 32;
    }
}
#endif
