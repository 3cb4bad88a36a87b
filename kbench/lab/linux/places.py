"""Which files of Linux a history may edit, by what a small config makes of them. Data; read `COMPILED` and `noise`.

Small means the configs kbench ships: no disk file system, no network but Unix sockets, next to no driver. Of Linux's files
that is a hundredth, so an edit drawn from all of them would hardly ever be compiled; these lists say which are and which
surely are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# By folder, without .c; compiled in 6.1 and 6.12, for User-Mode Linux and for x86.
_COMPILED = {
    "drivers/base": """attribute_container bus cacheinfo class component cpu dd devres devtmpfs driver platform property swnode
        topology transport_class""",
    "drivers/tty": """n_tty tty_baudrate tty_buffer tty_io tty_ioctl tty_jobctrl tty_ldisc tty_ldsem tty_port""",
    "fs": """aio anon_inodes attr bad_inode binfmt_elf binfmt_misc binfmt_script char_dev d_path dcache eventfd eventpoll
        exec fcntl file file_table filesystems fs-writeback fs_context fs_parser fsopen init inode ioctl
        kernel_read_file libfs locks namei nsfs open pipe pnode proc_namespace read_write readdir remap_range select
        seq_file signalfd splice stat statfs super sync timerfd utimes xattr""",
    "fs/exportfs": """expfs""",
    "fs/kernfs": """dir file inode mount""",
    "fs/notify/fanotify": """fanotify fanotify_user""",
    "fs/notify": """fsnotify group mark notification""",
    "fs/notify/inotify": """inotify_fsnotify inotify_user""",
    "fs/proc": """array base fd generic inode meminfo namespaces proc_net proc_sysctl proc_tty root stat task_mmu""",
    "fs/ramfs": """inode""",
    "fs/sysfs": """dir file group symlink""",
    "init": """calibrate do_mounts init_task initramfs main""",
    "ipc": """ipc_sysctl mqueue msg sem shm syscall util""",
    "kernel": """async capability cpu cred exit extable fork groups hung_task iomem irq_work kallsyms ksysfs kthread notifier
        nsproxy panic params pid ptrace reboot resource signal smpboot softirq stacktrace sys sys_ni sysctl task_work
        ucount umh user watchdog""",
    "kernel/futex": """core pi requeue syscalls waitwake""",
    "kernel/irq": """chip devres handle irqdesc manage proc resend spurious""",
    "kernel/locking": """mutex percpu-rwsem rtmutex_api rwsem semaphore""",
    "kernel/power": """qos""",
    "kernel/printk": """printk printk_ringbuffer""",
    "kernel/rcu": """sync update""",
    "kernel/time": """alarmtimer clockevents clocksource hrtimer itimer ntp posix-clock posix-cpu-timers posix-timers tick-common
        time timeconv timekeeping timer timer_list""",
    "mm": """backing-dev compaction debug fadvise filemap gup highmem list_lru maccess madvise memblock memfd mempool
        mincore mlock mm_init mmap mmu_gather mprotect mremap oom_kill page-writeback page_vma_mapped pagewalk percpu
        pgtable-generic readahead rmap shmem slab_common swap truncate util vmalloc vmstat workingset""",
    "net/netlink": """af_netlink genetlink policy""",
    "net": """socket sysctl_net""",
    "net/unix": """af_unix garbage""",
    "security": """commoncap""",
    "security/keys": """gc key keyctl keyring proc process_keys request_key request_key_auth user_defined""",
}
COMPILED = tuple(f"{folder}/{name}.c" for folder, names in _COMPILED.items() for name in names.split())

# Headers that most compiled files include, with a macro of their own to add.
HEADERS = {
    "include/linux/mm.h": ("PAGES_TO_KIB(pages)", "((pages) << (PAGE_SHIFT - 10))"),
    "include/linux/sched.h": ("task_is_first(tsk)", "((tsk)->pid == 1)"),
    "include/linux/fs.h": ("inode_is_regular(inode)", "S_ISREG((inode)->i_mode)"),
    "include/linux/list.h": ("list_is_empty_or_one(head)", "((head)->next == (head)->prev)"),
    "include/linux/slab.h": ("kzalloc_for(pointer, gfp)", "kzalloc(sizeof(*(pointer)), gfp)"),
    "include/linux/kernel.h": ("is_between(x, low, high)", "((x) >= (low) && (x) <= (high))"),
    "include/linux/gfp.h": ("gfp_may_wait(gfp)", "(!!((gfp) & __GFP_DIRECT_RECLAIM))"),
    "include/linux/wait.h": ("waitqueue_is_idle(head)", "(!waitqueue_active(head))"),
    "include/linux/mutex.h": ("mutex_is_free(lock)", "(!mutex_is_locked(lock))"),
    "include/linux/jiffies.h": ("jiffies_ago(ticks)", "(jiffies - (ticks))"),
    "include/linux/dcache.h": ("dentry_is_root(dentry)", "IS_ROOT(dentry)"),
    "include/linux/cpumask.h": ("cpu_is_first(cpu)", "((cpu) == cpumask_first(cpu_online_mask))"),
    "include/linux/uaccess.h": ("copy_struct_to_user(to, from)", "copy_to_user(to, from, sizeof(*(from)))"),
    "include/linux/ktime.h": ("ktime_is_zero(kt)", "((kt) == 0)"),
    "include/linux/errno.h": ("is_restart_error(err)", "((err) == -ERESTARTSYS || (err) == -ERESTARTNOINTR)"),
}

# Hardware, file systems and protocols that no small config turns on.
_NOISE = re.compile(
    r"""Documentation/(?!Kconfig|devicetree|translations)[^.]+\.rst
    | arch/(?:alpha|arc|arm|csky|hexagon|loongarch|m68k|microblaze|mips|nios2|openrisc|parisc|powerpc|riscv|s390|sh|sparc
      |xtensa)/(?!tools|boot/tools)[^.]+\.c
    | drivers/(?:accel|bluetooth|comedi|crypto|dma|firewire|gpu/drm|hid|hwmon|i2c/busses|iio|infiniband|input/touchscreen|isdn
      |leds|media|memstick|mfd|misc|mmc|mtd|mux|net/(?:can|ethernet|wireless)|nfc|platform|pinctrl|power|pwm|regulator|scsi
      |soundwire|staging|thunderbolt|usb|video/fbdev|w1|watchdog)/[^.]+\.c
    | fs/(?:9p|afs|btrfs|ceph|erofs|f2fs|gfs2|hfs|hfsplus|jffs2|jfs|nfs|nfsd|nilfs2|ntfs3|ocfs2|orangefs|smb|ubifs|udf|ufs
      |xfs)/[^.]+\.c
    | net/(?:9p|appletalk|ax25|batman-adv|bluetooth|can|ceph|dsa|ieee802154|mac80211|nfc|rds|sctp|smc|sunrpc|tipc|vmw_vsock
      |wireless|x25)/[^.]+\.c
    | sound/(?:soc|pci|usb|isa|firewire|drivers)/[^.]+\.c
    | tools/testing/selftests/[^.]+\.c""",
    re.X,
)


def noise(paths: Iterable[str]) -> tuple[str, ...]:
    """Those of a tree's files that no small config compiles and no build reads."""
    return tuple(path for path in paths if _NOISE.fullmatch(path))
