/* The file system in memory: inodes with pages, and the system calls that name them. A name is a whole path. */
#include "fs.h"
#include "kernel.h"
#include "mm.h"

#define O_CREAT 1
#define O_TRUNC 2
#define MAX_SIZE (FILE_PAGES * PAGE_SIZE)

static DEFINE_MUTEX(namespace_lock);	/* all dentries; taken before any inode's lock */
static int last_ino;

static void inode_truncate(struct inode *inode) {
	for (u32 i = 0; i < FILE_PAGES; i++) {
		kfree(inode->pages[i]);
		inode->pages[i] = NULL;
	}
	inode->size = 0;
}

static void inode_get(struct inode *inode) {
	u32 flags = irq_save();
	inode->count++;
	irq_restore(flags);
}

void inode_put(struct inode *inode) {
	u32 flags = irq_save();
	int left = --inode->count;
	irq_restore(flags);
	WARN_ON(left < 0);
	if (left) return;
	inode_truncate(inode);
	kfree(inode);
}

static int ramfs_read(struct file *file, char *user, u32 n) {
	struct inode *inode = file->private;
	u32 pos = file->pos, done = 0, part;
	mutex_lock(&inode->lock);
	for (; done < n && pos < inode->size; done += part, pos += part) {
		const char *page = inode->pages[pos / PAGE_SIZE];
		part = min(min(n - done, PAGE_SIZE - pos % PAGE_SIZE), inode->size - pos);
		if (page) copy_to_user(user + done, page + pos % PAGE_SIZE, part);
		else memset(user + done, 0, part);
	}
	mutex_unlock(&inode->lock);
	file->pos = pos;
	return done;
}

static int ramfs_write(struct file *file, const char *user, u32 n) {
	struct inode *inode = file->private;
	u32 pos = file->pos, done = 0, part;
	mutex_lock(&inode->lock);
	for (; done < n && pos < MAX_SIZE; done += part, pos += part) {
		char **page = &inode->pages[pos / PAGE_SIZE];
		part = min(n - done, PAGE_SIZE - pos % PAGE_SIZE);
		if (!*page) *page = kzalloc(PAGE_SIZE);
		if (!*page) break;
		copy_from_user(*page + pos % PAGE_SIZE, user + done, part);
		inode->size = max(inode->size, pos + part);
	}
	mutex_unlock(&inode->lock);
	file->pos = pos;
	return done || !n ? (int)done : pos < MAX_SIZE ? -ENOMEM : -EFBIG;
}

static void ramfs_release(struct file *file) { inode_put(file->private); }

static const struct file_ops ramfs_ops = { .read = ramfs_read, .write = ramfs_write, .release = ramfs_release };

/* A new inode under a name; NULL without memory. */
static struct inode *inode_create(const char *path) {
	struct inode *inode = kzalloc(sizeof(*inode));
	if (!inode) return NULL;
	inode->ino = ++last_ino;
	inode->count = 1;
	mutex_init(&inode->lock);
	if (dcache_add(path, inode)) return inode;
	kfree(inode);
	return NULL;
}

int sys_open(const char *user_path, u32 mode) {
	char path[NAME_SIZE];
	int error = string_from_user(path, user_path, sizeof(path));
	if (error < 0) return error;
	mutex_lock(&namespace_lock);
	struct dentry *dentry = dcache_lookup(path);
	struct inode *inode = dentry ? dentry->inode : NULL;
	if (!inode && (mode & O_CREAT)) inode = inode_create(path);
	if (inode) inode_get(inode);
	mutex_unlock(&namespace_lock);
	if (!inode) return mode & O_CREAT ? -ENOMEM : -ENOENT;
	if (mode & O_TRUNC) {
		mutex_lock(&inode->lock);
		inode_truncate(inode);
		mutex_unlock(&inode->lock);
	}
	struct file *file = file_alloc(&ramfs_ops, inode);
	if (!file) inode_put(inode);
	return fd_install(file);
}

/* Open files stay until they are closed. */
int sys_unlink(const char *user_path) {
	char path[NAME_SIZE];
	int error = string_from_user(path, user_path, sizeof(path));
	if (error < 0) return error;
	mutex_lock(&namespace_lock);
	struct dentry *dentry = dcache_lookup(path);
	if (dentry) dcache_remove(dentry);
	mutex_unlock(&namespace_lock);
	return dentry ? 0 : -ENOENT;
}

/* A file at the new path is replaced. With namespace_lock held. */
static int rename_locked(const char *from, const char *to) {
	struct dentry *source = dcache_lookup(from), *target = dcache_lookup(to);
	if (!source) return -ENOENT;
	if (source == target) return 0;
	inode_get(source->inode);
	if (!dcache_add(to, source->inode)) {
		inode_put(source->inode);
		return -ENOMEM;
	}
	if (target) dcache_remove(target);
	dcache_remove(source);
	return 0;
}

int sys_rename(const char *user_from, const char *user_to) {
	char from[NAME_SIZE], to[NAME_SIZE];
	int error = string_from_user(from, user_from, sizeof(from));
	if (error >= 0) error = string_from_user(to, user_to, sizeof(to));
	if (error < 0) return error;
	mutex_lock(&namespace_lock);
	error = rename_locked(from, to);
	mutex_unlock(&namespace_lock);
	return error;
}

int sys_ls(void) {
	mutex_lock(&namespace_lock);
	dcache_show();
	mutex_unlock(&namespace_lock);
	return 0;
}
