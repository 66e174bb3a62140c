#include "../objects/bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entry, 1);
} map SEC(".maps");
