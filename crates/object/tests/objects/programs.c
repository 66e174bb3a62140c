/* Several programs in a section, subprograms of all kinds, and what sections say. */
#include "bpf.h"

static __noinline int square(int x)
{
	return x * x;
}

__noinline int global(int x)
{
	return square(x) + 1;
}

__hidden __noinline int hidden(int x)
{
	return global(x) + square(x + 1);
}

__weak __noinline int weak(int x)
{
	return x ^ 3;
}

static int each(u32 index, int *sum)
{
	*sum += square(index);
	return 0;
}

SEC("kprobe/do_unlinkat")
int first(void *context)
{
	return hidden((long)context) + weak(2);
}

SEC("kprobe/do_unlinkat")
int second(void *context)
{
	int sum = 0;

	bpf_loop(10, each, &sum, 0);
	return sum + global(1);
}

SEC("?fentry.s/do_nanosleep")
int sleeps(u64 *context)
{
	return 0;
}

SEC("xdp.frags/devmap")
int packets(void *context)
{
	return square(3) - 7;
}

SEC("lsm/file_open")
int hook(u64 *context)
{
	return weak(*context);
}

int _version SEC("version") = 0x60c00;
char _license[] SEC("license") = "Dual MIT/GPL";
