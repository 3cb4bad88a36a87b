// Ask for notice of messages by a socket that is full, while another process makes room and closes it.
// needs: CONFIG_POSIX_MQUEUE CONFIG_NET
#define _GNU_SOURCE
#include <fcntl.h>
#include <mqueue.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/netlink.h>

static char stack[65536];
static int queue, full, copy;

/* Computes for a while. Whether a tick of the kernel's clock falls into that time decides who runs next. */
static void compute(long us)
{
	struct timespec from, now;

	clock_gettime(CLOCK_REALTIME, &from);
	do
		clock_gettime(CLOCK_REALTIME, &now);
	while ((now.tv_sec - from.tv_sec) * 1000000 + (now.tv_nsec - from.tv_nsec) / 1000 < us);
}

/* Goes on at a time that has nothing to do with the ticks. */
static void lose_step(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	compute(10000 - now.tv_nsec / 1000 % 10000);
}

static int asks(void *unused)
{
	char cookie[32] = "";
	struct sigevent event = { .sigev_notify = SIGEV_THREAD, .sigev_signo = full };

	(void)unused;
	event.sigev_value.sival_ptr = cookie;
	syscall(SYS_mq_notify, queue, &event);
	return 0;
}

int main(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_pid = 4711 };
	char block[1024];
	int small = 0, sender = socket(AF_NETLINK, SOCK_RAW, NETLINK_USERSOCK);

	memset(block, 'A', sizeof(block));
	full = socket(AF_NETLINK, SOCK_RAW, NETLINK_USERSOCK);
	if (full < 0 || bind(full, (struct sockaddr *)&address, sizeof(address)))
		return 1;
	setsockopt(full, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	while (sendto(sender, block, sizeof(block), MSG_DONTWAIT, (struct sockaddr *)&address, sizeof(address)) > 0)
		;
	copy = dup(full);
	queue = syscall(SYS_mq_open, "kbench", O_CREAT | O_RDWR, 0600, NULL);
	if (clone(asks, stack + sizeof(stack), CLONE_FILES | SIGCHLD, NULL) < 0)
		return 1;
	usleep(20000);
	lose_step();
	while (recv(copy, block, sizeof(block), MSG_DONTWAIT) > 0)
		; /* it goes on as soon as there is room: before or after the descriptor is closed? */
	compute(4000);
	close(full);
	wait(NULL);
	close(copy);
	close(sender);
	return 0;
}
