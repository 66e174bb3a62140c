/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The kernel that libbpf sees.
 *
 * The linker sends libbpf's calls here (--wrap). Offline, every bpf(2) command succeeds as on a
 * kernel that has everything: a map or a program is an empty memfd. Live, the commands go through.
 */
#define _GNU_SOURCE
#include "oracle.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Descriptors of programs start here, so that no number in a structure is taken for one. */
#define FIRST_PROGRAM_FD 2000

struct kernel kernel;

static struct created_map *maps;
static size_t map_count;

long __real_syscall(long number, ...);
int __real_open64(const char *path, int flags, ...);
FILE *__real_fopen64(const char *path, const char *mode);
int __real_faccessat(int directory, const char *path, int mode, int flags);
int __real_statfs64(const char *path, struct statfs *result);
int __real_uname(struct utsname *name);
void *__real_gzopen64(const char *path, const char *mode);

static long bpf(int command, union bpf_attr *attr, size_t size)
{
	return __real_syscall(__NR_bpf, command, attr, size);
}

unsigned long identity(int fd)
{
	struct bpf_map_info info = {};
	union bpf_attr attr = {};
	struct stat stat;

	if (!kernel.live)
		return fstat(fd, &stat) ? 0 : stat.st_ino;
	attr.info.bpf_fd = fd;
	attr.info.info_len = sizeof(info);
	attr.info.info = (uintptr_t)&info;
	return bpf(BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)) ? 0 : info.id;
}

const struct created_map *created_map_by_identity(unsigned long identity)
{
	for (size_t i = map_count; identity && i > 0; i--)
		if (maps[i - 1].identity == identity)
			return &maps[i - 1];
	return NULL;
}

const struct created_map *created_map(int fd)
{
	return created_map_by_identity(identity(fd));
}

static void *copy(uint64_t address, size_t size)
{
	void *bytes = malloc(size ? size : 1);

	memcpy(bytes, (void *)(uintptr_t)address, size);
	return bytes;
}

/* An object of the pretended kernel, with that many bytes to map. */
static int object(size_t size)
{
	int fd = memfd_create("bpf", MFD_CLOEXEC);
	size_t page = sysconf(_SC_PAGESIZE);

	if (fd >= 0 && ftruncate(fd, (size + page - 1) / page * page)) {
		close(fd);
		return -1;
	}
	return fd;
}

static long fail(int error)
{
	errno = error;
	return -1;
}

/* Whether the kernel is at least that new; the running one's is asked when none is pretended. */
static bool since(unsigned major, unsigned minor)
{
	unsigned its_major = 0, its_minor = 0;
	struct utsname name;

	uname(&name);
	sscanf(kernel.release ? kernel.release : name.release, "%u.%u", &its_major, &its_minor);
	return its_major > major || (its_major == major && its_minor >= minor);
}

static long map_create(union bpf_attr *attr, size_t size)
{
	size_t value = (attr->value_size + 7ul) / 8 * 8;
	size_t bytes = value * attr->max_entries;
	struct created_map *map;
	long fd;

	if (attr->map_type == BPF_MAP_TYPE_ARENA)
		bytes = attr->max_entries * sysconf(_SC_PAGESIZE);
	fd = kernel.live ? bpf(BPF_MAP_CREATE, attr, size) : object(bytes);
	if (fd < 0)
		return fd;
	maps = realloc(maps, (map_count + 1) * sizeof(*maps));
	map = &maps[map_count++];
	memset(map, 0, sizeof(*map));
	memcpy(&map->attr, attr, size < sizeof(*attr) ? size : sizeof(*attr));
	map->identity = identity(fd);
	map->inner = attr->inner_map_fd ? identity(attr->inner_map_fd) : 0;
	return fd;
}

static long map_update(union bpf_attr *attr, size_t size)
{
	struct created_map *map = (struct created_map *)created_map(attr->map_fd);
	struct update *update;
	long result = kernel.live ? bpf(BPF_MAP_UPDATE_ELEM, attr, size) : 0;

	if (result || !map)
		return result;
	update = calloc(1, sizeof(*update));
	update->key_size = map->attr.key_size;
	update->value_size = map->attr.value_size;
	update->key = copy(attr->key, update->key_size);
	update->value = copy(attr->value, update->value_size);
	update->next = map->updates;
	map->updates = update;
	/* What libbpf maps after this is the value that it stored. */
	if (!kernel.live && map->attr.map_type == BPF_MAP_TYPE_ARRAY && map->attr.max_entries == 1 &&
	    pwrite(attr->map_fd, update->value, update->value_size, 0) < 0)
		return -1;
	return 0;
}

static long program_load(union bpf_attr *attr, size_t size)
{
	long result;

	if (kernel.live) {
		result = bpf(BPF_PROG_LOAD, attr, size);
	} else if (!strcmp(attr->prog_name, "global_reloc")) {
		/* libbpf asks whether offsets beyond 512 MiB work, for globals in arenas: not yet. */
		if (attr->log_buf && attr->log_size > 64)
			strcpy((char *)(uintptr_t)attr->log_buf, "direct value offset of 1073741824 is not allowed");
		return fail(EINVAL);
	} else if (!strcmp(attr->prog_name, "det_arg_ctx") && !since(6, 8)) {
		/* libbpf asks whether arguments may be tagged as contexts. */
		return fail(EINVAL);
	} else {
		int fd = object(0);

		result = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_PROGRAM_FD);
		close(fd);
	}
	int error = errno;
	on_program(attr, size, result < 0 ? -error : result);
	errno = error;
	return result;
}

/* Structures of callbacks attach. The rest are libbpf's questions: links that cannot be. */
static long link_create(const union bpf_attr *attr)
{
	switch (attr->link_create.attach_type) {
	case BPF_STRUCT_OPS:
		return object(0);
	case BPF_TRACE_UPROBE_MULTI:
		/* The second question has a process that cannot be. */
		return fail(since(6, 6) && (int)attr->link_create.uprobe_multi.pid != -1 ? EBADF : EINVAL);
	default:
		return fail(EBADF);
	}
}

static long command(int command, union bpf_attr *attr, size_t size)
{
	struct created_map *map;

	switch (command) {
	case BPF_MAP_CREATE:
		return map_create(attr, size);
	case BPF_MAP_UPDATE_ELEM:
		return map_update(attr, size);
	case BPF_PROG_LOAD:
		return program_load(attr, size);
	case BPF_MAP_FREEZE:
		map = (struct created_map *)created_map(attr->map_fd);
		if (map)
			map->frozen = true;
		return kernel.live ? bpf(command, attr, size) : 0;
	}
	if (kernel.live)
		return bpf(command, attr, size);
	switch (command) {
	case BPF_BTF_LOAD:
		return object(0);
	case BPF_PROG_BIND_MAP:
	case BPF_OBJ_PIN:
		return 0;
	case BPF_LINK_CREATE:
		return link_create(attr);
	case BPF_OBJ_GET:
	case BPF_TOKEN_CREATE:
	case BPF_BTF_GET_NEXT_ID:
	case BPF_PROG_GET_NEXT_ID:
	case BPF_MAP_GET_NEXT_ID:
		return fail(ENOENT);
	default:
		return fail(EINVAL);
	}
}

long __wrap_syscall(long number, ...)
{
	long a[6];
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	if (number == __NR_bpf)
		return command(a[0], (union bpf_attr *)a[1], a[2]);
	/* A probe of libbpf's; the kernel that is pretended has the function. */
	if (number == __NR_perf_event_open && !kernel.live)
		return object(0);
	return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* The file that stands for a kernel's own. */
static const char *instead(const char *path)
{
	if (kernel.btf && !strcmp(path, "/sys/kernel/btf/vmlinux"))
		return kernel.btf;
	if (kernel.kallsyms && !strcmp(path, "/proc/kallsyms"))
		return kernel.kallsyms;
	if (kernel.config && (!strncmp(path, "/boot/config-", 13) || !strcmp(path, "/proc/config.gz")))
		return kernel.config;
	return path;
}

int __wrap_open64(const char *path, int flags, ...)
{
	va_list list;
	int mode;

	va_start(list, flags);
	mode = va_arg(list, int);
	va_end(list);
	return __real_open64(instead(path), flags, mode);
}

FILE *__wrap_fopen64(const char *path, const char *mode)
{
	if (!kernel.live && !strcmp(path, "/sys/bus/event_source/devices/kprobe/type"))
		return fmemopen("6\n", 2, "r");
	return __real_fopen64(instead(path), mode);
}

int __wrap_faccessat(int directory, const char *path, int mode, int flags)
{
	return __real_faccessat(directory, instead(path), mode, flags);
}

void *__wrap_gzopen64(const char *path, const char *mode)
{
	return __real_gzopen64(instead(path), mode);
}

/* Whatever libbpf wants to pin to is a place for pins. */
int __wrap_statfs64(const char *path, struct statfs *result)
{
	if (kernel.live)
		return __real_statfs64(path, result);
	memset(result, 0, sizeof(*result));
	result->f_type = BPF_FS_MAGIC;
	return 0;
}

int __wrap_uname(struct utsname *name)
{
	int result = __real_uname(name);

	if (!result && kernel.release) {
		snprintf(name->release, sizeof(name->release), "%s", kernel.release);
		/* libbpf looks for a distribution's own number there. */
		name->version[0] = 0;
	}
	return result;
}
