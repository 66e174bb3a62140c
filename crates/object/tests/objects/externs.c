/* What the kernel gives: configuration, symbols, variables, functions. */
#include "bpf.h"

enum libbpf_tristate { TRI_NO = 0, TRI_YES = 1, TRI_MODULE = 2 };

extern unsigned int LINUX_KERNEL_VERSION __kconfig;
extern unsigned long CONFIG_HZ __kconfig __weak;
extern enum libbpf_tristate CONFIG_MODULES __kconfig __weak;
extern _Bool CONFIG_BPF __kconfig;
extern char CONFIG_CC_VERSION_TEXT[16] __kconfig __weak;

struct runqueue {
	int running;
};

extern const struct runqueue runqueues __ksym;
extern const void bpf_prog_fops __ksym;
extern const int missing __ksym __weak;
extern void *bpf_kfunc_acquire(int, long id) __ksym;
extern void bpf_kfunc_missing(void *) __ksym __weak;

SEC("tp_btf/sched_switch")
long uses(u64 *context)
{
	void *object;

	if (!CONFIG_BPF || CONFIG_MODULES == TRI_NO)
		return 0;
	object = bpf_kfunc_acquire(LINUX_KERNEL_VERSION, CONFIG_HZ);
	if (bpf_kfunc_missing)
		bpf_kfunc_missing(object);
	if (&missing)
		return missing;
	return runqueues.running + (long)&bpf_prog_fops + CONFIG_CC_VERSION_TEXT[3];
}

char _license[] SEC("license") = "GPL";
