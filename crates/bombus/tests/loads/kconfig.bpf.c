// The kernel's version, and options: there, not there.
#include "bpf.h"

extern u32 LINUX_KERNEL_VERSION __attribute__((section(".kconfig")));
extern u32 CONFIG_HZ __attribute__((section(".kconfig"), weak));
extern _Bool CONFIG_BPF_SYSCALL __attribute__((section(".kconfig")));
extern u32 CONFIG_NO_SUCH_THING __attribute__((section(".kconfig"), weak));

SEC("syscall")
int version(void *ctx)
{
	return LINUX_KERNEL_VERSION > 0x050000;
}

SEC("syscall")
int options(void *ctx)
{
	return CONFIG_BPF_SYSCALL * 10 + CONFIG_NO_SUCH_THING + (CONFIG_HZ == CONFIG_HZ);
}

// run version -> 1
// run options -> 11
