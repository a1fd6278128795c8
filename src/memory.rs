//! How the system allocator returns memory to the system.
//!
//! Batches, segments and fetched messages are allocated by many threads and freed by others. By default glibc keeps an arena
//! for each thread, and memory freed in an arena stays there: a bridge with a budget of 16 MiB would hold three times as much.

/// The free memory that is kept at the end of a heap, in bytes.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT: i32 = 1024 * 1024;
/// A cache of fewer bytes is small: memory is returned at once, at any cost in time. A larger cache has room for one arena per
/// thread, which avoids waiting for locks, and for reused buffers of librdkafka, which saves mapping and clearing new ones.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const SMALL: usize = 256 << 20;
/// The number of arenas with a small cache: one for the threads of streams and one for librdkafka's threads.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const FEW_ARENAS: i32 = 2;
/// Larger allocations, such as segments, get a mapping each, which is returned to the system when they are freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_FROM: i32 = 128 * 1024;
/// The same threshold with a larger cache, as a fraction of it: twice what the consumer fetches at once.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_PART: usize = 32;
/// The highest threshold that glibc accepts.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MOST_MAPPED_FROM: usize = 32 << 20;

/// Returns free pages between used ones. The memory that ten thousand connections needed while they were opened is spread over
/// the heap: a fifth of what their streams keep afterwards. The search takes tens of microseconds, so it is done periodically.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim takes an integer, and returns only pages without allocations; it has no preconditions and may run
    // concurrently with other threads.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Sets how much free memory is kept, depending on the size of the cache. Must be called before threads are started.
pub(crate) fn keep_within(cache: usize) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        set(libc::M_TRIM_THRESHOLD, KEPT);
        if cache < SMALL {
            set(libc::M_ARENA_MAX, FEW_ARENAS);
            set(libc::M_MMAP_THRESHOLD, MAPPED_FROM);
        } else {
            set(libc::M_MMAP_THRESHOLD, (cache / MAPPED_PART).min(MOST_MAPPED_FROM) as i32);
        }
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    let _ = cache;
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn set(option: i32, value: i32) {
    // SAFETY: mallopt takes two integers and changes only the allocator's own settings; it has no preconditions.
    unsafe { libc::mallopt(option, value) };
}
