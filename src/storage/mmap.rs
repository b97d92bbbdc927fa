//! Writes through a shared memory map: the only unsafe code of the crate.
//!
//! The file is mapped once, over reserved blocks; the map itself takes only address space. A window
//! of it is populated for writing in one call, written, and released when all its bytes have
//! arrived, so only the windows in use are resident. Populating and releasing are advice about
//! mapped pages and share the address space's lock. Mapping and unmapping each window would take
//! that lock exclusively and make every other connection wait.
//!
//! A page may still lose its place in the file while it is written: another process ignores the
//! lock and truncates the file between the caller's check of its length and the copy, or the file
//! system shuts down after a device error. The kernel then sends SIGBUS. A handler maps an
//! anonymous page there, so the copy ends, and marks the map as lost, which fails that copy and all
//! later ones. Any other SIGBUS is passed to the earlier handler.

#![expect(unsafe_code, reason = "a copy into a shared map has no safe form")]

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::sync::{Once, OnceLock};
use std::{io, mem, ptr};

use memmap2::{Advice, MmapOptions, MmapRaw, UncheckedAdvice};

use super::map_registry::MapEntry;
use crate::object::ByteRange;

/// A file, mapped shared and for writing. The map is never read, and no reference into it is made.
#[derive(Debug)]
pub(crate) struct FileMap {
    // INVARIANT: shared and writable, except lost pages; its first byte is the file's first.
    map: MmapRaw,
    // INVARIANT: covers all of `map`.
    place: &'static MapEntry,
}

/// Why bytes did not reach the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missed {
    /// The bytes are outside the map: nothing was written.
    Outside,
    /// A page of the map was lost, during this copy or an earlier one.
    Lost,
}

impl FileMap {
    /// Maps the first `length` bytes, at least one.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` where the file is shorter; `OutOfMemory` where the address space is too
    /// small.
    pub(super) fn new(file: &File, length: u64) -> io::Result<Self> {
        if file.metadata()?.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length =
            usize::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let map = MmapOptions::new().len(length).map_raw(file)?;
        // With large folios, a window takes one fault and one page-table entry. A kernel that does
        // not know the advice faults page by page.
        let _ = map.advise(Advice::HugePage);
        install();
        let place = MapEntry::take(map.as_mut_ptr().addr(), map.len());
        Ok(Self { map, place })
    }

    /// Makes every page of `range` present for writing.
    ///
    /// # Errors
    ///
    /// The error of `madvise`, such as `EFAULT` where a page can't be made present.
    pub(super) fn populate(&self, range: ByteRange) -> io::Result<()> {
        let (offset, length) = self.inside(range).ok_or(io::ErrorKind::InvalidInput)?;
        loop {
            match self.map.advise_range(Advice::PopulateWrite, offset, length) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Linux before 5.14 does not know the advice; it faults pages in one by one.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(()),
                result => return result,
            }
        }
    }

    /// Releases the pages of `range`. The bytes written to them stay in the file.
    pub(super) fn release(&self, range: ByteRange) {
        let Some((offset, length)) = self.inside(range) else {
            return;
        };
        // SAFETY: the advice discards the bytes of private maps. This map is shared: the pages
        // leave this process's page table and stay, still dirty, in the file's page cache, from
        // where a later access brings them back. No reference into the map exists that could
        // observe a difference, and a neighbouring window that shares a page with `range` only
        // faults it in again. A lost page is private, and its bytes are not used.
        let released = unsafe {
            self.map
                .unchecked_advise_range(UncheckedAdvice::DontNeed, offset, length)
        };
        // A failure only leaves the pages resident.
        let _ = released;
    }

    /// Copies the bytes to `position`. The caller has just checked the file's length.
    ///
    /// # Errors
    ///
    /// The bytes are outside the map, or may not have reached the file.
    pub(super) fn write(&self, position: u64, bytes: &[u8]) -> Result<(), Missed> {
        let range = u64::try_from(bytes.len())
            .ok()
            .and_then(|length| ByteRange::at(position, length));
        let Some((offset, length)) = range.and_then(|range| self.inside(range)) else {
            return Err(Missed::Outside);
        };
        // SAFETY: `inside` has checked that `offset + length <= map.len()`, and `length` is
        // `bytes.len()`, so source and destination are valid for it; the map lives as long as
        // `self`, is writable, and bytes have no alignment. They do not overlap: no reference into
        // the map is ever made, so `bytes` can't be part of it, and the kernel placed the map in
        // unused address space. Two threads may copy at once: leases give them different bytes,
        // except for a hedge and for the last buffer of a lease whose tail was just taken, which
        // bring the same bytes again; all copies are plain stores into memory that is shared with
        // the kernel, and nothing in this process reads it.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), self.map.as_mut_ptr().add(offset), length);
        }
        if self.place.is_lost() {
            return Err(Missed::Lost);
        }
        Ok(())
    }

    /// Offset and length of `range` in the map; `None` if any of it is outside.
    fn inside(&self, range: ByteRange) -> Option<(usize, usize)> {
        let end = usize::try_from(range.end()).ok()?;
        let start = usize::try_from(range.start()).ok()?;
        (end <= self.map.len()).then_some((start, end - start))
    }
}

impl Drop for FileMap {
    fn drop(&mut self) {
        // Before unmapping: the next map at these addresses may not be ours.
        self.place.leave();
    }
}

static GUARD: OnceLock<Guard> = OnceLock::new();
static HANDLER: Once = Once::new();

/// What the SIGBUS handler needs. It is set up before the first map and stays until the process
/// ends.
struct Guard {
    /// The size of a page in bytes.
    page: usize,
    /// The earlier action, which handles a SIGBUS that no map of ours caused.
    earlier: libc::sigaction,
}

/// Installs the handler, once. `GUARD` is initialised first.
fn install() {
    HANDLER.call_once(|| {
        GUARD.get_or_init(Guard::look);
        let handler: Handler = on_sigbus;
        let mut ours = no_action();
        ours.sa_sigaction = handler as libc::sighandler_t;
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: `ours` is a struct of this frame. The handler has the signature that SA_SIGINFO
        // requires. It uses only atomics and functions that may be called in a handler. The call
        // fails only for an invalid signal number.
        unsafe { libc::sigaction(libc::SIGBUS, &raw const ours, ptr::null_mut()) };
    });
}

fn no_action() -> libc::sigaction {
    // SAFETY: a plain C struct; all zeros are the default action with an empty mask and no flags.
    unsafe { mem::zeroed() }
}

impl Guard {
    fn look() -> Self {
        let mut earlier = no_action();
        // SAFETY: changes nothing and writes to a struct of this frame.
        unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut earlier) };
        Self {
            page: rustix::param::page_size(),
            earlier,
        }
    }

    /// Maps an anonymous page at `address` if a map of ours lost its page there. Returns whether it
    /// did.
    fn mend(&self, address: usize) -> bool {
        let Some(place) = MapEntry::of(address) else {
            return false;
        };
        place.lose();
        let at = ptr::without_provenance_mut::<c_void>(address & !(self.page - 1));
        // SAFETY: the page is in a map of ours, which starts at a page boundary and stays mapped
        // during the interrupted copy: the kernel sends this signal to the thread that touched the
        // page, and only `FileMap::write` touches it, which borrows the map. The page's bytes are
        // in the file or lost. A system call allocates nothing and takes no lock of this process;
        // it may set `errno`, which a copy does not use.
        let page = unsafe {
            libc::mmap(
                at,
                self.page,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                -1,
                0,
            )
        };
        page == at
    }
}

type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

extern "C" fn on_sigbus(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let guard = GUARD.get();
    // SAFETY: with SA_SIGINFO the kernel passes a valid `info`, whose address is set with this
    // code.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr().addr()) };
    if code == libc::BUS_ADRERR && guard.is_some_and(|guard| guard.mend(address)) {
        return;
    }
    let earlier = guard.map_or_else(no_action, |guard| guard.earlier);
    // Sent by a process, not by the kernel for an access.
    let is_sent = code <= 0;
    match earlier.sa_sigaction {
        libc::SIG_IGN if is_sent => {}
        libc::SIG_IGN | libc::SIG_DFL => {
            // SAFETY: both may be called in a handler. The signal is blocked until this handler
            // returns, and then ends the process, as it would have without a handler: a faulting
            // access ends even a process that ignores the signal.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                libc::raise(signal);
            }
        }
        handler if earlier.sa_flags & libc::SA_SIGINFO == 0 => {
            // SAFETY: a handler that was registered without SA_SIGINFO takes the signal's number
            // alone.
            let handler: extern "C" fn(c_int) = unsafe { mem::transmute(handler) };
            handler(signal);
        }
        handler => {
            // SAFETY: a handler that was registered with SA_SIGINFO has this signature.
            let handler: Handler = unsafe { mem::transmute(handler) };
            handler(signal, info, context);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, ExitStatus};

    fn file(length: u64) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(length).unwrap();
        file
    }

    #[test]
    fn bytes_reach_their_place_and_no_other() {
        let file = file(20_000);
        let map = FileMap::new(&file, 20_000).unwrap();
        for (start, end) in [(0, 10), (4095, 4097), (5000, 15_001), (19_999, 20_000)] {
            let range = ByteRange::new(start, end).unwrap();
            map.populate(range).unwrap();
            let bytes = vec![7; usize::try_from(range.len()).unwrap()];
            map.write(start, &bytes).unwrap();
            map.release(range);
        }
        assert_eq!(map.write(20_000, b"x"), Err(Missed::Outside));
        assert_eq!(map.write(19_999, b"xx"), Err(Missed::Outside));
        assert_eq!(map.write(u64::MAX, b"x"), Err(Missed::Outside));
        assert_eq!(map.write(20_000, b""), Ok(()));
        let mut found = vec![0; 20_000];
        file.read_exact_at(&mut found, 0).unwrap();
        for (position, byte) in found.iter().enumerate() {
            let written = position < 10
                || (4095..4097).contains(&position)
                || (5000..15_001).contains(&position)
                || position == 19_999;
            assert_eq!(*byte == 7, written, "at {position}");
        }
    }

    #[test]
    fn a_map_past_the_end_is_an_error_and_no_signal() {
        let error = FileMap::new(&file(5000), 9000).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let map = FileMap::new(&file(5000), 5000).unwrap();
        assert!(map.populate(ByteRange::new(4000, 9000).unwrap()).is_err());
    }

    #[test]
    fn a_page_that_goes_away_under_a_copy_is_an_error_and_no_signal() {
        let shrinking = file(1 << 20);
        let other = file(1 << 20);
        let map = FileMap::new(&shrinking, 1 << 20).unwrap();
        let unharmed = FileMap::new(&other, 1 << 20).unwrap();
        map.populate(ByteRange::new(0, 1 << 20).unwrap()).unwrap();
        map.write(0, &[1; 1 << 20]).unwrap();
        shrinking.set_len(100_000).unwrap();
        // Starts in the page where the file now ends and goes on over many missing pages.
        assert_eq!(map.write(99_990, &[2; 900_000]), Err(Missed::Lost));
        assert_eq!(map.write(0, b"x"), Err(Missed::Lost));
        map.release(ByteRange::new(0, 1 << 20).unwrap());
        assert_eq!(map.write((1 << 20) - 1, b"x"), Err(Missed::Lost));
        assert_eq!(unharmed.write(0, b"x"), Ok(()));
        drop(map);
        let map = FileMap::new(&shrinking, 100_000).unwrap();
        assert_eq!(map.write(99_999, b"x"), Ok(()));
        let mut last = [0; 10];
        shrinking.read_exact_at(&mut last, 99_990).unwrap();
        assert_eq!(&last, b"\x02\x02\x02\x02\x02\x02\x02\x02\x02x");
    }

    extern "C" fn leave(_: c_int) {
        // SAFETY: may be called in a handler.
        unsafe { libc::_exit(7) };
    }

    /// The exit status of a child process that installs `earlier` before its first map and then
    /// gets a SIGBUS that no map of ours caused.
    fn child(earlier: &str, cause: &str) -> ExitStatus {
        let name = "storage::mmap::tests::a_bus_error_of_another_cause_goes_where_it_went_before";
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(CHILD, format!("{earlier} {cause}"))
            .output();
        child.unwrap().status
    }

    const CHILD: &str = "PARTWISE_TEST_BUS_ERROR";

    fn be_child(task: &str) {
        let (earlier, cause) = task.split_once(' ').unwrap();
        let handler: extern "C" fn(c_int) = leave;
        let earlier = match earlier {
            "std" => None,
            "default" => Some(libc::SIG_DFL),
            "ignored" => Some(libc::SIG_IGN),
            _ => Some(handler as libc::sighandler_t),
        };
        if let Some(earlier) = earlier {
            // SAFETY: a handler that calls `_exit` alone, or none.
            unsafe { libc::signal(libc::SIGBUS, earlier) };
        }
        let ours = file(5000);
        let _map = FileMap::new(&ours, 5000).unwrap();
        if cause == "sent" {
            // SAFETY: sends a signal to this thread.
            unsafe { libc::raise(libc::SIGBUS) };
            return;
        }
        let theirs = file(5000);
        let foreign = MmapOptions::new().len(5000).map_raw(&theirs).unwrap();
        theirs.set_len(0).unwrap();
        // SAFETY: within the map, which is writable; the missing page is the subject of the test.
        unsafe { foreign.as_mut_ptr().write_volatile(1) };
    }

    #[test]
    fn a_bus_error_of_another_cause_goes_where_it_went_before() {
        if let Ok(task) = std::env::var(CHILD) {
            be_child(&task);
            return;
        }
        for earlier in ["std", "default", "ignored"] {
            let ended = child(earlier, "access");
            assert_eq!(ended.signal(), Some(libc::SIGBUS), "{earlier}: {ended}");
        }
        assert_eq!(child("default", "sent").signal(), Some(libc::SIGBUS));
        assert_eq!(child("ignored", "sent").code(), Some(0));
        for cause in ["access", "sent"] {
            assert_eq!(child("handler", cause).code(), Some(7), "{cause}");
        }
    }
}
