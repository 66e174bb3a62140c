#include "../objects/bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__array(values, int(void *));
} map SEC(".maps");
