/* Global variables in all sections, visible and not. */
#include "bpf.h"

int counter = 5;
static volatile int hits = 6;
const volatile u64 limit = 7;
static const volatile u8 flag = 8;
u32 zeroed[3];
static u64 last;
__hidden int nobody_sees;
struct { u16 a; u64 b; } pair SEC(".data.pairs") = { 1, 2 };
const volatile int fixed SEC(".rodata.fixed") = 9;
int many SEC(".bss.many");
static volatile int quiet SEC(".data.quiet") = 10;
const char *const words[] = { 0, 0 };

SEC("raw_tp/sched_switch")
int uses(void *context)
{
	static u32 calls;
	const char text[] = "on the stack, from .rodata.str";

	calls++;
	last += limit + flag;
	nobody_sees = many + fixed + quiet + text[(u64)context & 15];
	zeroed[2] = counter + hits;
	pair.b = calls;
	return words[1] != 0;
}
