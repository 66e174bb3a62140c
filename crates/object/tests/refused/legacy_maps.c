#include "../objects/bpf.h"

struct { int type, key_size, value_size, max_entries; } map SEC("maps") = { 1, 4, 4, 1 };
