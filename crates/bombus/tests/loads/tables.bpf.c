// Maps in maps, and programs in a table for tail calls.
#include "bpf.h"

static long (*const tail_call)(void *ctx, void *table, u32 index) = (void *)12;

enum { PROG_ARRAY = 3, ARRAY_OF_MAPS = 12, HASH_OF_MAPS = 13 };

struct inner {
	UINT(type, ARRAY);
	UINT(max_entries, 1);
	TYPE(key, u32);
	TYPE(value, u32);
} first SEC(".maps"), second SEC(".maps");

struct {
	UINT(type, ARRAY_OF_MAPS);
	UINT(max_entries, 2);
	TYPE(key, u32);
	struct inner *values[];
} outer SEC(".maps") = {.values = {&second, &first}};

int callee(void *ctx);

struct {
	UINT(type, PROG_ARRAY);
	UINT(max_entries, 3);
	UINT(key_size, 4);
	int (*values[])(void *);
} calls SEC(".maps") = {.values = {[2] = callee}};

SEC("raw_tp/sys_enter")
int callee(void *ctx)
{
	return 33;
}

SEC("raw_tp/sys_enter")
int calls_it(void *ctx)
{
	tail_call(ctx, &calls, 2);
	return 1;
}

SEC("raw_tp/sys_enter")
int stores(void *ctx)
{
	u32 one = 1, zero = 0, value = 9;
	void *map = map_lookup(&outer, &one);
	if (!map)
		return 1;
	map_update(map, &zero, &value, ANY);
	u32 *stored = map_lookup(&first, &zero), *other = map_lookup(&second, &zero);
	return stored && other ? *stored * 10 + *other : 2;
}

// run calls_it -> 33
// run stores -> 90
