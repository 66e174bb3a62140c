#include "../objects/bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, int);
	__uint(key_size, 8);
} map SEC(".maps");
