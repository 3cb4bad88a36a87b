/* Pipes: a ring of small buffers between two open files. */
#include "fs.h"
#include "kernel.h"
#include "mm.h"

#define PIPE_BUFFERS 8
#define BUFFER_SIZE 240u

struct pipe_buffer {
	char *data;
	u32 offset, n;
};

struct pipe {
	struct mutex lock;
	struct list_head wait;
	int readers, writers;		/* open ends */
	u32 head, tail;			/* buffers filled and emptied so far */
	struct pipe_buffer buffers[PIPE_BUFFERS];
};

static bool pipe_empty(const struct pipe *pipe) { return pipe->head == pipe->tail; }
static bool pipe_full(const struct pipe *pipe) { return pipe->head - pipe->tail == PIPE_BUFFERS; }

static void pipe_buffer_release(struct pipe *pipe) {
	struct pipe_buffer *buffer = &pipe->buffers[pipe->tail++ % PIPE_BUFFERS];
	kfree(buffer->data);
	buffer->data = NULL;
}

/* Copy from the oldest buffer; with the lock held. */
static int pipe_buffer_read(struct pipe *pipe, char *user, u32 n) {
	struct pipe_buffer *buffer = &pipe->buffers[pipe->tail % PIPE_BUFFERS];
	n = min(n, buffer->n);
	copy_to_user(user, buffer->data + buffer->offset, n);
	buffer->offset += n;
	buffer->n -= n;
	if (!buffer->n) pipe_buffer_release(pipe);
	return n;
}

/* Fill a new buffer; with the lock held. */
static int pipe_buffer_write(struct pipe *pipe, const char *user, u32 n) {
	struct pipe_buffer *buffer = &pipe->buffers[pipe->head % PIPE_BUFFERS];
	char *data = kmalloc(BUFFER_SIZE);
	if (!data) return -ENOMEM;
	n = min(n, BUFFER_SIZE);
	copy_from_user(data, user, n);
	*buffer = (struct pipe_buffer){ .data = data, .n = n };
	pipe->head++;
	return n;
}

/* Returns what the oldest buffer has; 0 when all writers are gone. */
static int pipe_read(struct file *file, char *user, u32 n) {
	struct pipe *pipe = file->private;
	mutex_lock(&pipe->lock);
	while (pipe_empty(pipe) && pipe->writers) {
		mutex_unlock(&pipe->lock);
		wait_event(&pipe->wait, !pipe_empty(pipe) || !pipe->writers);
		mutex_lock(&pipe->lock);
	}
	int result = pipe_empty(pipe) ? 0 : pipe_buffer_read(pipe, user, n);
	mutex_unlock(&pipe->lock);
	wake_up(&pipe->wait);
	return result;
}

static int pipe_write(struct file *file, const char *user, u32 n) {
	struct pipe *pipe = file->private;
	int result = 0;
	u32 done = 0;
	mutex_lock(&pipe->lock);
	for (; done < n && result >= 0; done += max(result, 0)) {
		while (pipe_full(pipe) && pipe->readers) {
			mutex_unlock(&pipe->lock);
			wait_event(&pipe->wait, !pipe_full(pipe) || !pipe->readers);
			mutex_lock(&pipe->lock);
		}
		result = pipe->readers ? pipe_buffer_write(pipe, user + done, n - done) : -EPIPE;
		wake_up(&pipe->wait);
	}
	mutex_unlock(&pipe->lock);
	return done ? (int)done : result;
}

static void pipe_close_end(struct pipe *pipe, int *end) {
	mutex_lock(&pipe->lock);
	(*end)--;
	bool last = !pipe->readers && !pipe->writers;
	mutex_unlock(&pipe->lock);
	wake_up(&pipe->wait);
	if (!last) return;
	while (!pipe_empty(pipe)) pipe_buffer_release(pipe);
	kfree(pipe);
}

static void pipe_release_read(struct file *file) {
	struct pipe *pipe = file->private;
	pipe_close_end(pipe, &pipe->readers);
}

static void pipe_release_write(struct file *file) {
	struct pipe *pipe = file->private;
	pipe_close_end(pipe, &pipe->writers);
}

static const struct file_ops read_ops = { .read = pipe_read, .release = pipe_release_read };
static const struct file_ops write_ops = { .write = pipe_write, .release = pipe_release_write };

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
