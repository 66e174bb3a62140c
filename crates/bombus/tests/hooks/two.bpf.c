#include "bpf.h"

u64 calls = 5;

__attribute__((noinline)) int twice(int number)
{
	calls += 10;
	return number * 2;
}
