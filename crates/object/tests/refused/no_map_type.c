#include "../objects/bpf.h"

struct {
	__uint(max_entries, 1);
} map SEC(".maps");
