/* What AddressSanitizer does for the fuzz targets, which make and free small things all the time:
 * freed memory stays poisoned for as long as an execution takes, not for a quarter of a gigabyte;
 * stacks of allocations are not kept (an input that fails is replayed with ASAN_OPTIONS saying
 * malloc_context_size=30); memory is not handed back to the kernel. */
const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
    return "quarantine_size_mb=4:malloc_context_size=0:allocator_release_to_os_interval_ms=-1";
}
