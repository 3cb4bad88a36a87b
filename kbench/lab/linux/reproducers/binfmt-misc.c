// Register an interpreter that lies where interpreters are registered.
// needs: CONFIG_BINFMT_MISC CONFIG_DETECT_HUNG_TASK
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static void put(const char *path, const char *text)
{
	int file = open(path, O_WRONLY);

	if (file >= 0 && write(file, text, strlen(text)) >= 0)
		close(file);
}

int main(void)
{
	put("/proc/sys/kernel/hung_task_timeout_secs", "1");
	mkdir("/tmp/misc", 0755);
	if (mount("none", "/tmp/misc", "binfmt_misc", 0, NULL))
		return 1;
	put("/tmp/misc/register", ":loop:E::loop::/tmp/misc/interpreter:F");
	return 0;
}
