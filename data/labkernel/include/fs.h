/* Open files, inodes and the directory cache. */
#ifndef FS_H
#define FS_H

#include "sched.h"

#define NR_OPEN 32
#define NAME_SIZE 48			/* a path, with its end */
#define PAGE_SIZE 4096
#define FILE_PAGES 16

struct file;

struct file_ops {
	int (*read)(struct file *file, char *user, u32 n);
	int (*write)(struct file *file, const char *user, u32 n);
	void (*release)(struct file *file);
};

struct file {
	int count;			/* the descriptor table and system calls under way */
	u32 pos;
	const struct file_ops *ops;
	void *private;			/* inode or pipe */
};

struct inode {
	int ino, count;			/* count: its names and its open files */
	u32 size;
	char *pages[FILE_PAGES];
	struct mutex lock;		/* of size and pages; taken after namespace_lock */
};

struct dentry {
	struct list_head hash;
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

#endif
