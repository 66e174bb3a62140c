/* How long the system calls of one process take, in powers of two of nanoseconds. */
#include "bpf.h"

/* The process. A constant: set before the program is loaded. */
const volatile u32 only = 0;

/* When each thread entered its system call. */
struct {
	UINT(type, HASH);
	UINT(max_entries, 10240);
	TYPE(key, u32);
	TYPE(value, u64);
} entered SEC(".maps");

/* Calls that took less than 2, 4, 8 ... ns. */
struct {
	UINT(type, ARRAY);
	UINT(max_entries, 64);
	TYPE(key, u32);
	TYPE(value, u64);
} histogram SEC(".maps");

SEC("raw_tp/sys_enter")
int on_enter(void *ctx)
{
	u64 id = get_current_pid_tgid();
	if (id >> 32 != only)
		return 0;
	u32 thread = id;
	u64 now = ktime_get_ns();
	map_update(&entered, &thread, &now, ANY);
	return 0;
}

INLINE u32 log2(u64 value)
{
	u32 log = 0;
#pragma unroll
	for (int shift = 32; shift; shift /= 2) {
		if (value >> shift) {
			value >>= shift;
			log += shift;
		}
	}
	return log;
}

SEC("raw_tp/sys_exit")
int on_exit(void *ctx)
{
	u64 id = get_current_pid_tgid();
	if (id >> 32 != only)
		return 0;
	u32 thread = id;
	u64 *start = map_lookup(&entered, &thread);
	if (!start)
		return 0;
	u32 slot = log2(ktime_get_ns() - *start);
	map_delete(&entered, &thread);
	u64 *count = map_lookup(&histogram, &slot);
	if (count)
		__sync_fetch_and_add(count, 1);
	return 0;
}
