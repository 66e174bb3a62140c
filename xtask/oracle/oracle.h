/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What libbpf says to the kernel, written down.
 *
 * kernel.c stands between libbpf and the kernel: it answers for a kernel that is not there, or
 * passes on and listens. main.c drives libbpf and prints what went over the wire.
 */
#ifndef ORACLE_H
#define ORACLE_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* The kernel to pretend; a null pointer is the running one's. */
struct kernel {
	bool live;             /* Load into the running kernel for real. */
	const char *btf;       /* Instead of /sys/kernel/btf/vmlinux. */
	const char *kallsyms;  /* Instead of /proc/kallsyms. */
	const char *config;    /* Instead of /boot/config-... and /proc/config.gz. */
	const char *release;   /* Instead of uname's. */
};
extern struct kernel kernel;

/* One map as it was created, in the order of creation. */
struct created_map {
	unsigned long identity; /* The same for every descriptor of the map. */
	union bpf_attr attr;
	unsigned long inner;    /* Identity of the inner map, or 0. */
	bool frozen;
	struct update *updates; /* Newest first. */
};

/* One element stored. */
struct update {
	struct update *next;
	size_t key_size, value_size;
	unsigned char *key, *value;
};

/* The map behind a descriptor, or null. */
const struct created_map *created_map(int fd);
/* The map with an identity, or null. */
const struct created_map *created_map_by_identity(unsigned long identity);
/* What identifies the kernel's object behind a descriptor. */
unsigned long identity(int fd);

/* main.c: a program is (being) loaded; `result` is what the kernel answers, negative on failure. */
void on_program(const union bpf_attr *attr, size_t size, long result);

/* json.c: the pieces of a line. */
void json_string(FILE *out, const char *text);
void json_hex(FILE *out, const void *bytes, size_t size);

#endif
