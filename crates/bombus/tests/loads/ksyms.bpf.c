// Symbols with and without a type, functions, and what no kernel has.
#include "bpf.h"

#define KSYM __attribute__((section(".ksyms")))

struct task_struct {
	int pid;
} KERNEL_TYPE;

extern const void bpf_map_fops KSYM;
extern const int no_such_symbol __attribute__((section(".ksyms"), weak));
extern const int bpf_prog_active KSYM;
extern void bpf_rcu_read_lock(void) KSYM;
extern void bpf_rcu_read_unlock___other(void) KSYM;
extern void bpf_no_such_kfunc(void) __attribute__((section(".ksyms"), weak));

SEC("syscall")
int symbols(void *ctx)
{
	return (&bpf_map_fops != 0) + 2 * (&no_such_symbol == 0);
}

SEC("syscall")
int functions(void *ctx)
{
	if (bpf_no_such_kfunc)
		bpf_no_such_kfunc();
	return 5;
}

SEC("?syscall")
int calls_nothing(void *ctx)
{
	bpf_no_such_kfunc();
	return 0;
}

// needs 6.6
// run symbols -> 3
// run functions -> 5
// load calls_nothing fails: needs function bpf_no_such_kfunc, which
