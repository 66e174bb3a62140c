/* Linked with one.c. */
#include "../objects/bpf.h"

struct value {
	u64 count;
	u32 kind;
};

extern struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, u32);
	__type(value, struct value);
} shared SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, struct value);
} own SEC(".maps");

extern int counter;
const volatile int limit = 7;
u64 hits = 9;
static volatile int mine = 20;
extern int CONFIG_HZ __kconfig;
extern int bpf_kfunc(int x) __ksym;

__noinline int replaced(int x)
{
	return x + 2;
}

static __noinline int twice(int x)
{
	return 2 * x - mine;
}

static int each(u32 index, void *context)
{
	return twice(index);
}

__noinline int elsewhere(int x)
{
	return twice(x) + counter;
}

SEC("xdp")
int second(void *context)
{
	u32 key = 0;

	if (bpf_map_lookup_elem(&shared, &key) && bpf_map_lookup_elem(&own, &key))
		bpf_loop(2, each, 0, 0);
	return twice(1) + bpf_kfunc(CONFIG_HZ);
}

char _license[] SEC("license") = "GPL";
