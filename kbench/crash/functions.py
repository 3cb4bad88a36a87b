"""Functions of the kernel by the part they play in a stack trace: prefixes of names, as data. Read `GENERIC` first."""

from __future__ import annotations

import re


def names(text: str) -> re.Pattern[str]:
    """A pattern for names that begin with one of the words; `\\b` ends a word that stands for itself alone."""
    return re.compile("(?:" + "|".join(text.split()) + ")")


# Matched from the first letter of a name; `\b` ends those that stand for themselves.
GENERIC = names(
    r"""
    __sanitizer __asan __hwasan __kasan kasan_ read_word_at_a_time kmsan_ __msan __kmsan kcsan_ __kcsan __tsan
    kfence_ __kfence ubsan_ __ubsan handle_overflow nmi_panic invalid_op do_invalid_op do_error_trap do_trap\b
    report_bug fixup_bug handle_bug exc_ asm_exc_ do_report_trap _*dump_stack show_stack dump_backtrace show_regs
    show_trace walk_stackframe unwind_backtrace arch_stack_walk stack_trace_save save_stack __warn warn_ WARN
    v?s[nc]*printf pointer$ string$ hex_string va_format __?dev_printk dev_vprintk dev_printk _dev_ __dynamic_
    do_kern_addr_fault do_user_addr_fault __?bad_area page_fault_oops no_context die\b __die oops_ do_page_fault
    __do_page_fault page_fault\b do_translation_fault do_mem_abort do_bad_area __do_kernel_fault do_tag_check_fault
    el[01] die_kernel_fault general_protection do_general_protection do_double_fault async_page_fault error_entry
    fault_in_kernel_space spurious_kernel trace_hardirqs trace_softirqs lockdep
    lock_(acquire|release|downgrade|is_held|sock|timer|hrtimer|pin|set|stat) mark_lock look_up_lock_class
    register_lock_class __lock_ check_(memory_region|preemption|panic_on_warn|heap_object|stack_object) print_
    mark_held validate_chain find_held_lock reacquire_held _*raw_(spin|read|write) do_raw_ __raw_ spin_ _spin rwlock
    queued_ pv_queued pv_spin __pv_ rt_mutex __rt_mutex mutex_ __mutex ww_mutex down\b down_ __down up\b up_read
    up_write __up rwsem percpu_down rt_spin osq_lock local_bh __local_bh seqcount __seqprop preempt_ __preempt
    ___preempt __this_cpu_preempt debug_(object|print|check|smp|lockdep|mutex|locks|rt_mutex|spin) __debug
    work_is_static timer_is_static ___?_?might_ __might might_ should_fail __should_fail fail_dump failslab
    mem(cpy|set|move|cmp|chr|dup) __mem(cpy|set|move) ____mem
    str(lcpy|ncpy|scpy|lcat|cpy|len|nlen|nstr|str|cmp|ncmp|chr|dup) __str fortify_ _?_?copy_(to|from|in)_user
    _?copy_(to|from)_iter _?simple_copy copy_user _?_?raw_copy _*(get|put)_user(_nocheck)?(_[1248])?\b usercopy_
    __check_object __check_heap csum_partial_copy clear_user __clear_user _*k[vcmz]*alloc kmem_ __kmem kmalloc
    krealloc __do_krealloc k?v?free\b __kfree kzfree kfree_sensitive vfree __vfree vfree_ __vunmap slab_ __slab
    ___slab cache_(alloc|free|grow) create_object allocate_slab new_slab get_partial object_err discard_slab vmalloc
    __vmalloc v[zm]alloc kvmalloc __kvmalloc alloc_pages __alloc_pages alloc_page __alloc_frozen alloc_frozen
    get_page_from post_alloc prep_new_page __get_free_pages warn_alloc page_alloc __folio_alloc folio_alloc
    kfree_skb skb_(release|put|push|pull|panic|over|under)\b __kfree_skb sk_prot_alloc refcount_ __refcount kref_
    atomic_(?!open) arch_atomic raw_atomic instrument_ _atomic_dec list_(add|del|move|splice|replace|lru) __list_
    hlist_ __hlist plist rb_(erase|first|next|prev|last|insert|replace) rhashtable_ __rhashtable xas_ ida_
    find_lock_entries test_and_ test_bit constant_test set_bit clear_bit __test arch_test del_timer mod_timer
    __mod_timer init_timer add_timer timer_(is_static|delete|reduce|shutdown) try_to_grab cancel_(delayed_)?work
    __cancel_work flush_work __flush_work lock_sock release_sock __lock_sock dput fast_dput cpumask_ __wake wake_up
    default_wake __schedule schedule\b schedule_ context_switch __switch _?raw_local arch_local __native pv_native
    paravirt __x86_indirect ret_from entry_ do_syscall do_fast_syscall __read_once READ_ __READ kernel_fpu
    usb_(submit_urb|start_wait_urb|control_msg|kill|bulk_msg) _?stext\b __rela_dyn bug_at perf_trace assfail
    assertfail call_on_stack call_on_irq __compiletime wait_for_ __?wait_for_common process_one_work
    device_(add|del|destroy|unregister|release)\b devres_release sysfs_remove dpm_sysfs add_uevent_var drop_nlink
    ref_tracker_ iput\b folio_unlock filemap_alloc_folio alloc_inode kmemleak_ aes_ aesti_ crc32
    crypto_\w*(en|de)crypt xts_ rollback_registered unregister_netdevice_many __page_pool_alloc page_pool_alloc
    sysvec_ asm_sysvec kobject_ kset_ __kobject proc_create proc_register sk_alloc sock_kmalloc pagecache_get_page
    __filemap_get __page_cache_alloc unlock_page _compound_head \w*copy_(to|from)_user \w*printk \w*panic
    tty_unregister_device i2c_del_adapter __rustc:: core:: std:: alloc:: rust_helper_ truncate_inode_pages_range
    native_queued
    """
)

# The kernel waits here, it does not decide here.
WAITING = names(
    r"""
    __?schedule schedule preempt_schedule context_switch __switch_to io_schedule __mutex mutex_ __ww_mutex rt_mutex
    __rt_mutex _*raw_spin _*raw_read _*raw_write down\b down_ __down rwsem __rwsem percpu_ __percpu call_rwsem
    osq_lock do_wait_for __?wait_for_common wait_for_ __wait __wait_on wait_on_ bit_wait out_of_line prepare_to_wait
    schedule_ do_nanosleep hrtimer_ msleep usleep __flush_work flush_work flush_workqueue __cancel_work cancel_work
    cancel_delayed drain_ start_flush kthread_ completion rcu_barrier _rcu_barrier lock_sock __lock_sock lock_page
    __lock_page folio_lock __folio_lock folio_wait wait_bit console_lock __synchronize_srcu wb_wait lock_mount
    inode_lock lock_two freezer __refrigerator get_current sleep_on pipe_lock perf_event_ctx_lock shmem_lock
    __?add_to unwind dump_stack fdatawait filemap_fdatawait __filemap_fdatawait
    """
)
HANG_BUCKETS = (
    (names("rtnl_lock rtnl_lock_killable rtnl_net_lock"), "rtnl_lock"),
    (names(r"synchronize_rcu synchronize_net\b synchronize_srcu rcu_sync synchronize_sched __synchronize"), "synchronize_rcu"),
)

# Whoever hands out work: the function it called is the one that takes so long.
DISPATCHERS = names(
    r"""
    \w*_compat_ioctl\b compat_\w*_ioctl (SyS|SYSC|ksys|__\w*sys)_ioctl
    do_syscall_ do_syscall\b do_fast_syscall __do_fast_syscall entry_ el0_svc __invoke_syscall invoke_syscall
    ret_fast_syscall __sys_trace do_int80 do_softirq_own ia32_sysenter sysenter_dispatch tracesys system_call
    handle_syscall\b userspace\b fork_handler\b new_thread_handler\b
    syscall_ x64_sys_call ia32_sys_call __do_softirq handle_softirqs net_rx_action process_one_work
    process_scheduled_works worker_thread task_work_run exit_to_user ret_to_user smpboot_thread
    kthread\b vfs_ioctl do_vfs_ioctl blkdev_ioctl compat_blkdev_ioctl do_iter_write do_iter_readv vfs_iter
    vfs_read\b vfs_write\b __vfs_read __vfs_write new_sync_read new_sync_write call_write_iter call_read_iter
    do_dentry_open vfs_open __fput\b ____fput\b mmap_region sock_sendmsg\b sock_recvmsg\b
    rtnetlink_rcv_msg nfnetlink_rcv_msg genl_rcv_msg genl_family_rcv netlink_dump\b
    __netlink_dump_start genl_lock_dumpit genl_dumpit __netif_receive_skb netif_receive_skb process_backlog
    call_timer_fn __run_timers __hrtimer_run_queues expire_timers
    """
)
INTERRUPTS = names(
    r"""
    \w*apic_timer_interrupt asm_sysvec sysvec asm_common common_interrupt smp_apic retint el1_irq el1h_64 ret_from_intr irq_exit
    __irq_exit reschedule_interrupt call_function
    """
)
SLEEPING = names(r"__schedule\b schedule\b context_switch __switch_to")
STALL_BUCKETS = (
    (names("smp_call_function generic_exec_single csd_lock_wait on_each_cpu native_flush_tlb"), "smp_call_function"),
)
