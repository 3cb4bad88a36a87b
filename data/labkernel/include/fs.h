/* Open files, inodes and the directory cache. */
#pragma once

#include "mm.h"
#include "sched.h"

#define NR_OPEN 32
#define NAME_SIZE 48			/* a path, with its end */
#define FILE_SIZE 8000

struct file;

struct file_ops {
	int (*read)(struct file *file, char *user, u32 n);
	int (*write)(struct file *file, char *user, u32 n);
	void (*release)(struct file *file);
};

struct file {
	int count;			/* the descriptor table and system calls under way */
	u32 pos;
	const struct file_ops *ops;
	void *private;			/* inode or pipe */
};

struct inode {
	int count;			/* its names and its open files */
	u32 size;
	char *data;			/* FILE_SIZE bytes, from the first write on */
	struct mutex lock;		/* of size and data; taken after namespace_lock */
};

struct dentry {
	struct list_head list;
	struct inode *inode;
	char name[NAME_SIZE];
};

struct file *file_alloc(const struct file_ops *ops, void *private);
struct file *fget(int fd);
void fput(struct file *file);
int fd_install(struct file *file);
int sys_close(int fd);

struct dentry *dcache_lookup(const char *name);
struct dentry *dcache_add(const char *name, struct inode *inode);
void dcache_remove(struct dentry *dentry);
void dcache_show(void);
void inode_put(struct inode *inode);
