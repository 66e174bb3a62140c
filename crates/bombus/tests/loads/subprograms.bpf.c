// Static and global functions, and one that is called back.
#include "bpf.h"

static long (*const loop)(u32 times, void *each, void *ctx, u64 flags) = (void *)181;

static __attribute__((noinline)) int twice(int x)
{
	return x * 2 + (int)(get_current_pid_tgid() & 0);
}

__attribute__((noinline)) int global(int x)
{
	return twice(x) + 1;
}

static int each(u32 index, int *sum)
{
	*sum += index;
	return 0;
}

SEC("raw_tp/sys_enter")
int entry(void *ctx)
{
	int sum = 0;
	loop(5, each, &sum, 0);
	return global(sum) + twice(1);
}

// needs 5.17
// run entry -> 23
