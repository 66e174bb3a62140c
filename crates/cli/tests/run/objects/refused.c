/* Reads through a pointer that may be null: the verifier refuses it. */
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int (*name)[value]
#define __type(name, type) typeof(type) *name

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;

struct {
	__uint(type, 1);
	__uint(max_entries, 16);
	__type(key, int);
	__type(value, long);
} table SEC(".maps");

SEC("raw_tp/sys_enter")
int reads_null(void *context)
{
	int key = 0;
	long *value = bpf_map_lookup_elem(&table, &key);

	return *value;
}

char _license[] SEC("license") = "GPL";
