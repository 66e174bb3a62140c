/* Files that nobody may open but one process. */
#include "bpf.h"

/* Of the kernel's types only what is used; where the fields are is looked up when it is loaded. */
struct super_block {
	u32 s_dev;
} KERNEL_TYPE;

struct inode {
	unsigned long i_ino;
	struct super_block *i_sb;
} KERNEL_TYPE;

struct file {
	struct inode *f_inode;
} KERNEL_TYPE;

struct file_id {
	u64 inode;
	u64 device;
};

/* The files, each with how often it was refused. */
struct {
	UINT(type, HASH);
	UINT(max_entries, 1024);
	TYPE(key, struct file_id);
	TYPE(value, u64);
} protected SEC(".maps");

/* Who may open them. */
const volatile u32 owner = 0;

enum { EPERM = 1 };

SEC("lsm/file_open")
int on_open(u64 *arguments)
{
	struct file *file = (struct file *)arguments[0];
	struct file_id id = {
		.inode = file->f_inode->i_ino,
		.device = file->f_inode->i_sb->s_dev,
	};
	u64 *refused = map_lookup(&protected, &id);
	if (!refused || get_current_pid_tgid() >> 32 == owner)
		return 0;
	__sync_fetch_and_add(refused, 1);
	return -EPERM;
}
