/* The file system in memory: inodes with their data, and the system calls that name them. A name is a whole path. */
#include "fs.h"

#define O_CREAT 1
#define O_TRUNC 2

static DEFINE_MUTEX(namespace_lock);	/* all dentries; taken before any inode's lock */

/* With interrupts off, so that KASAN's look at the inode and the counting are one step. */
static void inode_get(struct inode *inode) {
	guard_irq();
	inode->count++;
}

void inode_put(struct inode *inode) {
	int left = __sync_sub_and_fetch(&inode->count, 1);
	WARN_ON(left < 0);
	if (left) return;
	kfree(inode->data);
	kfree(inode);
}

static int ramfs_read(struct file *file, char *user, u32 n) {
	struct inode *inode = file->private;
	mutex_lock(&inode->lock);
	u32 pos = min(file->pos, inode->size);	/* somebody may have truncated it */
	n = min(n, inode->size - pos);
	memcpy(user, inode->data + pos, n);
	mutex_unlock(&inode->lock);
	file->pos = pos + n;
	return n;
}

static int ramfs_write(struct file *file, char *user, u32 n) {
	struct inode *inode = file->private;
	mutex_lock(&inode->lock);
	u32 pos = min(file->pos, inode->size), part = min(n, FILE_SIZE - pos);
	if (!inode->data) inode->data = kmalloc(FILE_SIZE);
	if (inode->data) {
		memcpy(inode->data + pos, user, part);
		inode->size = max(inode->size, pos + part);
		file->pos = pos + part;
	}
	mutex_unlock(&inode->lock);
	if (!inode->data) return -ENOMEM;
	return part || !n ? (int)part : -EFBIG;
}

static void ramfs_release(struct file *file) { inode_put(file->private); }

static const struct file_ops ramfs_ops = { .read = ramfs_read, .write = ramfs_write, .release = ramfs_release };

/* A new inode under a name; NULL without memory. */
static struct inode *inode_create(const char *path) {
	struct inode *inode = kzalloc(sizeof(*inode));
	if (!inode) return NULL;
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
		inode->size = 0;
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
