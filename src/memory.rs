//! How the system allocator gives memory back.
//!
//! Batches, segments and fetched messages come from many threads and go in another's hands. By default glibc keeps an arena
//! for each thread, and what is freed there stays: a bridge with a budget of 16 MiB would hold three times as much.

/// Free memory at a heap's end that is kept.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT: i32 = 1024 * 1024;
/// A cache of fewer bytes is small: memory goes back at once, whatever that costs. With a larger one there is room for heaps
/// that threads need not wait for, and for buffers of librdkafka's that are used again rather than mapped and cleared anew.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const SMALL: usize = 256 << 20;
/// Arenas of a small one in all: one for the threads of streams and one for librdkafka's.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const FEW_ARENAS: i32 = 2;
/// Larger pieces, such as segments, are mapped by themselves and go back to the system when they are freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_FROM: i32 = 128 * 1024;
/// The same of a cache that is not small, as a part of it: twice what the consumer asks for at once.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_PART: usize = 32;
/// The highest that glibc takes for that.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MOST_MAPPED_FROM: usize = 32 << 20;

/// Gives pages back that lie free between others. What ten thousand connections needed while they came is strewn over the
/// heap: a fifth of what their streams keep then. Looking for it takes tens of microseconds, so it is done now and then.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim takes an integer, and gives back only pages of which nothing is allocated; it has no preconditions
    // and may run beside other threads.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Sets how much stays, by the bytes of the cache. To be called before there are threads.
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
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn set(option: i32, value: i32) {
    // SAFETY: mallopt takes two integers and touches only the allocator's own settings; it has no preconditions.
    unsafe { libc::mallopt(option, value) };
}
