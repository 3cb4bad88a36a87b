/* The system calls in the order of their numbers; the kernel and the user program both include this list. */
X(exit) X(getpid) X(clone) X(wait) X(yield) X(sleep) X(ticks) X(ps) X(uname) X(poweroff) X(reboot) X(bootdata)
X(open) X(close) X(read) X(write) X(dup) X(unlink) X(rename) X(ls) X(pipe)
X(lkdtm)
