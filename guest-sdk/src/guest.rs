//! What only exists inside the sandbox: an allocator that fits one short call, and a voice for panics.
//!
//! An instance lives for one call, so memory is only ever handed out, never taken back. This must never be used
//! for anything that lives longer.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;

/// The size of a WebAssembly page in bytes, by the specification.
const PAGE: usize = 65_536;

/// Hands out memory in order and never takes it back, except that the last piece may grow in place.
pub struct Bump {
    next: UnsafeCell<usize>,
    end: UnsafeCell<usize>,
}

// SAFETY: policies are built without threads, and the host refuses modules with shared memory.
unsafe impl Sync for Bump {}

impl Default for Bump {
    fn default() -> Self {
        Self::new()
    }
}

impl Bump {
    /// An allocator that has not handed out anything.
    pub const fn new() -> Self {
        Self { next: UnsafeCell::new(0), end: UnsafeCell::new(0) }
    }

    /// Makes sure that memory up to `end` exists.
    ///
    /// # Safety
    /// Only one thread may be inside.
    unsafe fn reach(&self, end: usize) -> bool {
        // SAFETY: one thread, by this function's contract.
        let have = unsafe { &mut *self.end.get() };
        if end <= *have {
            return true;
        }
        let pages = (end - *have).div_ceil(PAGE);
        if core::arch::wasm32::memory_grow(0, pages) == usize::MAX {
            return false;
        }
        *have += pages * PAGE;
        true
    }
}

// SAFETY: pieces never overlap: `next` only grows past the end of each piece, or moves the end of the last one.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        unsafe extern "C" {
            /// Where the linker says unused memory begins.
            static __heap_base: u8;
        }
        // SAFETY: one thread; see `Sync` above.
        let next = unsafe { &mut *self.next.get() };
        if *next == 0 {
            *next = (&raw const __heap_base) as usize;
            // SAFETY: as above.
            unsafe { *self.end.get() = core::arch::wasm32::memory_size(0) * PAGE };
        }
        let Some(start) = next.checked_next_multiple_of(layout.align()) else { return std::ptr::null_mut() };
        let Some(end) = start.checked_add(layout.size()) else { return std::ptr::null_mut() };
        // SAFETY: as above.
        if !unsafe { self.reach(end) } {
            return std::ptr::null_mut();
        }
        *next = end;
        start as *mut u8
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: one thread; see `Sync` above.
        let next = unsafe { &mut *self.next.get() };
        if size <= layout.size() {
            return piece;
        }
        if piece as usize + layout.size() == *next {
            let Some(end) = (piece as usize).checked_add(size) else { return std::ptr::null_mut() };
            // SAFETY: as above.
            if !unsafe { self.reach(end) } {
                return std::ptr::null_mut();
            }
            *next = end;
            return piece;
        }
        // SAFETY: the caller promises a sound layout; the new piece lies behind all others.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                std::ptr::copy_nonoverlapping(piece, moved, layout.size());
            }
            moved
        }
    }
}

/// Lets a panic say what and where before the instance dies: the trap itself carries no text.
pub fn panics_speak() {
    std::panic::set_hook(Box::new(|panic| crate::log::error(&panic.to_string())));
}
