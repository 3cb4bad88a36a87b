// A timer that notifies in a way nobody knows, shown in /proc.
// needs: CONFIG_CHECKPOINT_RESTORE CONFIG_POSIX_TIMERS
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
	struct sigevent event = { .sigev_notify = 0x40000000, .sigev_signo = SIGUSR1 };
	char text[4096];
	int timer, file;

	if (syscall(SYS_timer_create, CLOCK_REALTIME, &event, &timer))
		return 0;
	file = open("/proc/self/timers", O_RDONLY);
	return file < 0 || read(file, text, sizeof(text)) < 0;
}
