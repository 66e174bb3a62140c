/* CO-RE relocations of every kind, also in a subprogram. */
#include "bpf.h"

#define CORE __attribute__((preserve_access_index))

enum state { RUNNING = 0, STOPPED = 4 };
enum wide { SMALL = 1, HUGE = 0x100000000 };

struct task {
	int pid;
	u32 bits : 3, others : 5;
	struct { long utime; } times[2];
	struct task *parent;
} CORE;

typedef struct task task_t;

static __noinline int parent(struct task *task)
{
	return task->parent->pid;
}

SEC("raw_tp/sched_switch")
long uses(struct task *task)
{
	long sum = parent(task) + task->times[1].utime;

	sum += __builtin_preserve_field_info(task->bits, 0);
	sum += __builtin_preserve_field_info(task->bits, 1);
	sum += __builtin_preserve_field_info(task->others, 2);
	sum += __builtin_preserve_field_info(task->others, 3);
	sum += __builtin_preserve_field_info(task->others, 4);
	sum += __builtin_preserve_field_info(task->others, 5);
	sum += __builtin_btf_type_id(*(struct task *)0, 0);
	sum += __builtin_btf_type_id(*(struct task *)0, 1);
	sum += __builtin_preserve_type_info(*(task_t *)0, 0);
	sum += __builtin_preserve_type_info(*(struct task *)0, 1);
	sum += __builtin_preserve_type_info(*(struct task *)0, 2);
	sum += __builtin_preserve_enum_value(*(enum state *)STOPPED, 0);
	sum += __builtin_preserve_enum_value(*(enum wide *)HUGE, 1);
	return sum;
}
