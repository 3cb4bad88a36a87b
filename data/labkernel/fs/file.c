/* Open files and the descriptor table, which all user threads share. */
#include "fs.h"
#include "kernel.h"
#include "mm.h"

static struct file *descriptors[NR_OPEN];

struct file *file_alloc(const struct file_ops *ops, void *private) {
	struct file *file = kzalloc(sizeof(*file));
	if (file) *file = (struct file){ .count = 1, .ops = ops, .private = private };
	return file;
}

/* The file behind a descriptor, held until fput(). */
struct file *fget(int fd) {
	u32 flags = irq_save();
	struct file *file = (u32)fd < NR_OPEN ? descriptors[fd] : NULL;
	if (file) file->count++;
	irq_restore(flags);
	return file;
}

void fput(struct file *file) {
	u32 flags = irq_save();
	int left = --file->count;
	irq_restore(flags);
	WARN_ON(left < 0);
	if (left) return;
	if (file->ops->release) file->ops->release(file);
	kfree(file);
}

/* Takes over the caller's reference, also when it fails. */
int fd_install(struct file *file) {
	if (!file) return -ENOMEM;
	int fd = 0;
	u32 flags = irq_save();
	while (fd < NR_OPEN && descriptors[fd]) fd++;
	if (fd < NR_OPEN) descriptors[fd] = file;
	irq_restore(flags);
	if (fd < NR_OPEN) return fd;
	fput(file);
	return -EMFILE;
}

int sys_close(int fd) {
	if ((u32)fd >= NR_OPEN) return -EBADF;
	u32 flags = irq_save();
	struct file *file = descriptors[fd];
	descriptors[fd] = NULL;
	irq_restore(flags);
	if (!file) return -EBADF;
	fput(file);
	return 0;
}

int sys_dup(int fd) {
	struct file *file = fget(fd);
	return file ? fd_install(file) : -EBADF;
}

int sys_read(int fd, char *user, u32 n) {
	struct file *file = fget(fd);
	if (!file) return -EBADF;
	int result = !file->ops->read ? -EINVAL : !access_ok(user, n) ? -EFAULT : file->ops->read(file, user, n);
	fput(file);
	return result;
}

int sys_write(int fd, const char *user, u32 n) {
	struct file *file = fget(fd);
	if (!file) return -EBADF;
	int result = !file->ops->write ? -EINVAL : !access_ok(user, n) ? -EFAULT : file->ops->write(file, user, n);
	fput(file);
	return result;
}
