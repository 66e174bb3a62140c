/* Every attribute of maps, maps in maps, and tables of programs. */
#include "bpf.h"

struct key {
	u32 a;
	u64 b;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, 1 | 4);
	__uint(numa_node, 1);
	__uint(pinning, 1);
	__type(key, struct key);
	__type(value, u64);
} hash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 100);
	__uint(max_entries, 7);
} sized SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 16);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 10);
	__type(value, u32);
	__ulong(map_extra, 0x3);
} bloom SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, int);
} inner1 SEC(".maps"), inner2 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, u32);
	__array(values, struct inner);
} outer SEC(".maps") = { .values = { [3] = &inner1, [1] = &inner2 } };

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_HASH);
		__uint(max_entries, 5);
		__type(key, u64);
		__type(value, struct key);
	});
} by_hash SEC(".maps");

int tail(void *context);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__array(values, int(void *));
} table SEC(".maps") = { .values = { [1] = (void *)&tail } };

SEC("socket")
int tail(void *context)
{
	struct key key = {};

	return bpf_map_lookup_elem(&hash, &key) != 0;
}

SEC("socket")
int start(void *context)
{
	int key = 2;

	if (bpf_map_lookup_elem(&sized, &key))
		bpf_tail_call(context, &table, 1);
	return 0;
}
