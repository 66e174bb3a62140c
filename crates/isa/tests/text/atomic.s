; Atomics (RFC 9669 section 5.3; load-acquire and store-release: Linux 6.15).
lock *(u32 *)(r10 -8) += r2                     ; v1 c3 2a f8 ff 00 00 00 00
lock *(u32 *)(r10 -8) |= r2                     ; v3 c3 2a f8 ff 40 00 00 00
lock *(u32 *)(r10 -8) &= r2                     ; v3 c3 2a f8 ff 50 00 00 00
lock *(u32 *)(r10 -8) ^= r2                     ; v3 c3 2a f8 ff a0 00 00 00
r2 = atomic_fetch_add((u32 *)(r10 -8), r2)      ; v3 c3 2a f8 ff 01 00 00 00
r2 = atomic_fetch_or((u32 *)(r10 -8), r2)       ; v3 c3 2a f8 ff 41 00 00 00
r2 = atomic_fetch_and((u32 *)(r10 -8), r2)      ; v3 c3 2a f8 ff 51 00 00 00
r2 = atomic_fetch_xor((u32 *)(r10 -8), r2)      ; v3 c3 2a f8 ff a1 00 00 00
r2 = atomic_xchg((u32 *)(r10 -8), r2)           ; v3 c3 2a f8 ff e1 00 00 00
r0 = atomic_cmpxchg((u32 *)(r10 -8), r0, r2)    ; v3 c3 2a f8 ff f1 00 00 00
lock *(u64 *)(r10 -8) += r2                     ; v1 db 2a f8 ff 00 00 00 00
lock *(u64 *)(r10 -8) |= r2                     ; v3 db 2a f8 ff 40 00 00 00
lock *(u64 *)(r10 -8) &= r2                     ; v3 db 2a f8 ff 50 00 00 00
lock *(u64 *)(r10 -8) ^= r2                     ; v3 db 2a f8 ff a0 00 00 00
r2 = atomic64_fetch_add((u64 *)(r10 -8), r2)    ; v3 db 2a f8 ff 01 00 00 00
r2 = atomic64_fetch_or((u64 *)(r10 -8), r2)     ; v3 db 2a f8 ff 41 00 00 00
r2 = atomic64_fetch_and((u64 *)(r10 -8), r2)    ; v3 db 2a f8 ff 51 00 00 00
r2 = atomic64_fetch_xor((u64 *)(r10 -8), r2)    ; v3 db 2a f8 ff a1 00 00 00
r2 = atomic64_xchg((u64 *)(r10 -8), r2)         ; v3 db 2a f8 ff e1 00 00 00
r0 = atomic64_cmpxchg((u64 *)(r10 -8), r0, r2)  ; v3 db 2a f8 ff f1 00 00 00
r2 = load_acquire((u8 *)(r10 -8))               ; v4 d3 a2 f8 ff 00 01 00 00
store_release((u8 *)(r10 -8), r2)               ; v4 d3 2a f8 ff 10 01 00 00
r2 = load_acquire((u16 *)(r10 -8))              ; v4 cb a2 f8 ff 00 01 00 00
store_release((u16 *)(r10 -8), r2)              ; v4 cb 2a f8 ff 10 01 00 00
r2 = load_acquire((u32 *)(r10 -8))              ; v4 c3 a2 f8 ff 00 01 00 00
store_release((u32 *)(r10 -8), r2)              ; v4 c3 2a f8 ff 10 01 00 00
r2 = load_acquire((u64 *)(r10 -8))              ; v4 db a2 f8 ff 00 01 00 00
store_release((u64 *)(r10 -8), r2)              ; v4 db 2a f8 ff 10 01 00 00
