/* Linked with two.c: each needs what the other has. */
#include "../objects/bpf.h"

struct value {
	u64 count;
	u32 kind;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, u32);
	__type(value, struct value);
} shared SEC(".maps");

int counter = 1;
extern const volatile int limit;
extern u64 hits;
static volatile int mine = 10;
extern int CONFIG_HZ __kconfig;
extern int bpf_kfunc(int x) __ksym;

__weak __noinline int fallback(int x)
{
	return x - 1;
}

__weak __noinline int replaced(int x)
{
	return x - 2;
}

static __noinline int twice(int x)
{
	return 2 * x + mine;
}

extern int elsewhere(int x);

SEC("xdp")
int first(void *context)
{
	u32 key = 1;

	hits += limit + counter;
	bpf_map_lookup_elem(&shared, &key);
	return twice((long)context) + elsewhere(3) + fallback(4) + replaced(5) + bpf_kfunc(CONFIG_HZ);
}

char _license[] SEC("license") = "GPL";
