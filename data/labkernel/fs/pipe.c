/* Pipes: a ring of bytes between two open files. */
#include "fs.h"

#define PIPE_SIZE 2048

struct pipe {
	struct mutex lock;
	struct list_head wait;
	int readers, writers;		/* open ends */
	u32 head, tail;			/* bytes written and read so far */
	char data[PIPE_SIZE];
};

static bool pipe_empty(const struct pipe *pipe) { return pipe->head == pipe->tail; }
static bool pipe_full(const struct pipe *pipe) { return pipe->head - pipe->tail == PIPE_SIZE; }

/* Without the lock, until the other end has done something. */
static void pipe_wait(struct pipe *pipe) {
	guard_irq();
	mutex_unlock(&pipe->lock);
	sleep_on(&pipe->wait, TASK_INTERRUPTIBLE);
	mutex_lock(&pipe->lock);
}

/* Returns what is there; 0 when all writers are gone. */
static int pipe_read(struct file *file, char *user, u32 n) {
	struct pipe *pipe = file->private;
	u32 done = 0;
	mutex_lock(&pipe->lock);
	while (pipe_empty(pipe) && pipe->writers) pipe_wait(pipe);
	for (; done < n && !pipe_empty(pipe); done++) user[done] = pipe->data[pipe->tail++ % PIPE_SIZE];
	mutex_unlock(&pipe->lock);
	wake_up(&pipe->wait);
	return done;
}

static int pipe_write(struct file *file, char *user, u32 n) {
	struct pipe *pipe = file->private;
	u32 done = 0;
	mutex_lock(&pipe->lock);
	while (done < n && pipe->readers) {
		while (pipe_full(pipe) && pipe->readers) pipe_wait(pipe);
		while (done < n && !pipe_full(pipe)) pipe->data[pipe->head++ % PIPE_SIZE] = user[done++];
		wake_up(&pipe->wait);
	}
	mutex_unlock(&pipe->lock);
	return done || !n ? (int)done : -EPIPE;
}

/* One end is closed; the last one takes the pipe along. */
static void pipe_release(struct file *file) {
	struct pipe *pipe = file->private;
	mutex_lock(&pipe->lock);
	if (file->ops->read) pipe->readers--;
	else pipe->writers--;
	bool last = !pipe->readers && !pipe->writers;
	wake_up(&pipe->wait);
	mutex_unlock(&pipe->lock);
	if (last) kfree(pipe);
}

static const struct file_ops read_ops = { .read = pipe_read, .release = pipe_release };
static const struct file_ops write_ops = { .write = pipe_write, .release = pipe_release };

/* Returns the reading descriptor, and the writing one in the upper 16 bits. */
int sys_pipe(void) {
	struct pipe *pipe = kzalloc(sizeof(*pipe));
	struct file *reader = file_alloc(&read_ops, pipe), *writer = file_alloc(&write_ops, pipe);
	if (!pipe || !reader || !writer) {
		kfree(reader);
		kfree(writer);
		kfree(pipe);
		return -ENOMEM;
	}
	mutex_init(&pipe->lock);
	list_init(&pipe->wait);
	pipe->readers = pipe->writers = 1;
	int read_fd = fd_install(reader), write_fd = fd_install(writer);
	if (read_fd >= 0 && write_fd >= 0) return read_fd | write_fd << 16;
	if (read_fd >= 0) sys_close(read_fd);
	if (write_fd >= 0) sys_close(write_fd);
	return -EMFILE;
}
