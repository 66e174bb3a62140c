/* The same with what only Linux has: bpf_printk and perf buffers. */
#define LINUX_ONLY
#include "chdir.c"
