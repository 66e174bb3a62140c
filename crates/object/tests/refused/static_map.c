#include "../objects/bpf.h"

static struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
} map SEC(".maps");
