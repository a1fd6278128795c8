//! How the system allocator gives memory back.
//!
//! Batches, segments and fetched messages come from many threads and go in another's hands. By default glibc keeps an arena
//! for each thread, and what is freed there stays: a bridge with a budget of 16 MiB would hold three times as much.

/// Arenas in all: one for the threads of streams and one for librdkafka's are enough.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS: i32 = 2;
/// Larger pieces, such as segments, are mapped by themselves and go back to the system when they are freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_FROM: i32 = 128 * 1024;
/// Free memory at a heap's end that is kept.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT: i32 = 1024 * 1024;

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

/// To be called first, before there are threads.
pub(crate) fn keep_little() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (option, value) in
        [(libc::M_ARENA_MAX, ARENAS), (libc::M_MMAP_THRESHOLD, MAPPED_FROM), (libc::M_TRIM_THRESHOLD, KEPT)]
    {
        // SAFETY: mallopt takes two integers and touches only the allocator's own settings; it has no preconditions.
        unsafe { libc::mallopt(option, value) };
    }
}
