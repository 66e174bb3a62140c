#include "../objects/bpf.h"

struct ops {
	int (*callback)(int x);
};

int function(int x)
{
	return x;
}

SEC(".struct_ops")
struct ops ops = { .callback = function };
