// Fields that moved, fields that are gone, and code that asks first.
#include "bpf.h"

static void *(*const get_current_task)(void) = (void *)35;
static long (*const probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;

struct task_struct {
	int tgid;
	char no_such_field[8];
	int pid;
} KERNEL_TYPE;

struct no_such_struct {
	int x;
} KERNEL_TYPE;

enum bpf_map_type___local {
	BPF_MAP_TYPE_HASH___local = 77,
};

SEC("raw_tp/sys_enter")
int reads(void *ctx)
{
	struct task_struct *task = get_current_task();
	int pid = 0, tgid = 0;
	probe_read_kernel(&pid, sizeof(pid), __builtin_preserve_access_index(&task->pid));
	probe_read_kernel(&tgid, sizeof(tgid), __builtin_preserve_access_index(&task->tgid));
	u64 id = get_current_pid_tgid();
	return pid == (u32)id && tgid == id >> 32;
}

SEC("raw_tp/sys_enter")
int asks(void *ctx)
{
	struct task_struct *task = get_current_task();
	int value = 3;
	if (__builtin_preserve_field_info(task->no_such_field, 2))
		probe_read_kernel(&value, sizeof(value), __builtin_preserve_access_index(&task->no_such_field));
	value += __builtin_preserve_type_info(*(struct no_such_struct *)0, 0);
	return value + __builtin_preserve_enum_value(*(typeof(enum bpf_map_type___local) *)BPF_MAP_TYPE_HASH___local, 1);
}

SEC("?raw_tp/sys_enter")
int reads_what_is_gone(void *ctx)
{
	struct task_struct *task = get_current_task();
	u64 value = 0;
	probe_read_kernel(&value, sizeof(value), __builtin_preserve_access_index(&task->no_such_field));
	return value;
}

// run reads -> 1
// run asks -> 4
// load reads_what_is_gone fails: needs field `no_such_field` of `struct task_struct`, which
