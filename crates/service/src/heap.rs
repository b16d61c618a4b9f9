//! What becomes of memory that is freed. glibc gives the end of a heap back to the system whenever
//! 128 KiB of it are free, and maps every larger piece anew; a program under load frees and takes as
//! much many times a second, and each time the kernel clears the pages again. glibc also says how
//! it learns better (`M_MMAP_THRESHOLD` in mallopt(3)): when a mapped piece is freed, pieces of its
//! size come from the heap from then on, and twice its size may stay free at the end of a heap.

use std::hint::black_box;

/// Pieces up to this size come from a heap; twice as much may stay free at the end of each.
const LEARNT_BYTES: usize = 4 << 20;

/// Lets the allocator keep what a burst of work frees. The piece is never touched, so it costs no
/// memory. Under another C library nothing changes.
pub(crate) fn keep_what_is_freed() {
    drop(black_box(Vec::<u8>::with_capacity(LEARNT_BYTES)));
}

#[cfg(test)]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    const ROUNDS: u64 = 16;
    const PIECES: u64 = 32;
    /// Too small to be mapped, so that glibc learns nothing from them.
    const PIECE_BYTES: u64 = 96 << 10;

    /// Pages this process was given so far.
    fn faults() -> u64 {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        // The name, in parentheses, may hold anything.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        fields.split_whitespace().nth(7).unwrap().parse().unwrap()
    }

    fn work() {
        let pieces = (0..PIECES).map(|_| vec![1_u8; PIECE_BYTES as usize]);
        drop(black_box(pieces.collect::<Vec<_>>()));
    }

    #[test]
    fn freed_memory_is_taken_again_without_the_kernel() {
        keep_what_is_freed();
        let before = faults();
        (0..ROUNDS).for_each(|_| work());
        let pages = ROUNDS * PIECES * PIECE_BYTES / 4096;
        assert!(faults() - before < pages / 4, "each piece was given anew");
    }
}
