/* Open files and the descriptor table, which all user threads share. */
#include "fs.h"

static struct file *descriptors[NR_OPEN];

struct file *file_alloc(const struct file_ops *ops, void *private) {
	struct file *file = kzalloc(sizeof(*file));
	if (file) *file = (struct file){ .count = 1, .ops = ops, .private = private };
	return file;
}

/* The file behind a descriptor, held until fput(). */
struct file *fget(int fd) {
	guard_irq();
	struct file *file = (u32)fd < NR_OPEN ? descriptors[fd] : NULL;
	if (file) file->count++;
	return file;
}

void fput(struct file *file) {
	int left = __sync_sub_and_fetch(&file->count, 1);
	WARN_ON(left < 0);
	if (left) return;
	if (file->ops->release) file->ops->release(file);
	kfree(file);
}

/* Takes over the caller's reference, also when it fails. */
int fd_install(struct file *file) {
	if (!file) return -ENOMEM;
	for (int fd = 0; fd < NR_OPEN; fd++)
		if (__sync_bool_compare_and_swap(&descriptors[fd], NULL, file)) return fd;
	fput(file);
	return -EMFILE;
}

int sys_close(int fd) {
	if ((u32)fd >= NR_OPEN) return -EBADF;
	struct file *file = __sync_lock_test_and_set(&descriptors[fd], NULL);
	if (!file) return -EBADF;
	fput(file);
	return 0;
}

int sys_dup(int fd) {
	struct file *file = fget(fd);
	return file ? fd_install(file) : -EBADF;
}

static int transfer(int fd, char *user, u32 n, bool write) {
	struct file *file = fget(fd);
	if (!file) return -EBADF;
	int (*move)(struct file *, char *, u32) = write ? file->ops->write : file->ops->read;
	int result = !move ? -EINVAL : !access_ok(user, n) ? -EFAULT : move(file, user, n);
	fput(file);
	return result;
}

int sys_read(int fd, char *user, u32 n) { return transfer(fd, user, n, false); }
int sys_write(int fd, char *user, u32 n) { return transfer(fd, user, n, true); }
