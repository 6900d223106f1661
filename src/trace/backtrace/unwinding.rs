//! Unwinds copies of stacks, and gives names to what is found.

#![expect(unsafe_code, reason = "looks at the unwind tables of what is loaded")]

use super::StackFrame;
use super::stack_copy::{Registers, StackCopy};
use crate::fiber::Fiber;
use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{ExplicitModuleSectionInfo, Module, Unwinder as _};
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::ptr;
use std::sync::Arc;

/// How often it is tried to copy a stack.
const ATTEMPTS_MAX: usize = 16;
/// Stack frames of a backtrace, inlined functions not counted.
const FRAMES_MAX: usize = 256;
/// Where the sources of this crate were compiled.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/");

/// Makes the backtraces of one dump. What many have in common is made once.
pub(in crate::trace) struct Backtraces {
    /// Made for the first fiber.
    unwinder: Option<(UnwinderX86_64<Vec<u8>>, Box<CacheX86_64>)>,
    /// Addresses here are return addresses, or one more than that of an instruction: what is looked up is the byte before.
    named: HashMap<usize, Vec<StackFrame>>,
    /// By the addresses.
    made: HashMap<Vec<usize>, Arc<[StackFrame]>>,
}

impl Backtraces {
    pub(in crate::trace) fn new() -> Self {
        Self { unwinder: None, named: HashMap::new(), made: HashMap::new() }
    }

    /// Where the fiber waits; empty if it does not, or its worker is too busy to be looked at.
    pub(in crate::trace) fn of(&mut self, fiber: &'static Fiber) -> Arc<[StackFrame]> {
        let copied = (0..ATTEMPTS_MAX).find_map(|_| StackCopy::of(fiber));
        let Some((copy, registers)) = copied else { return Arc::default() };
        let addresses = self.unwind(&copy, registers);
        if let Some(known) = self.made.get(&addresses) {
            return Arc::clone(known);
        }
        let mut frames = Vec::new();
        for &address in &addresses {
            frames.extend_from_slice(self.named.entry(address).or_insert_with(|| name(address)));
        }
        trim(&mut frames);
        let frames: Arc<[StackFrame]> = frames.into();
        self.made.insert(addresses, Arc::clone(&frames));
        frames
    }

    fn unwind(&mut self, copy: &StackCopy, registers: Registers) -> Vec<usize> {
        let (unwinder, cache) =
            self.unwinder.get_or_insert_with(|| (unwinder_of_process(), Box::new(CacheX86_64::new())));
        let mut read = |address| copy.read(address).ok_or(());
        let Registers { instruction, stack, frame } = registers;
        let start = UnwindRegsX86_64::new(instruction, stack, frame);
        // It ends with an error where the next stack would begin: that of the worker, or, below a large one, the fiber's own.
        let mut frames = unwinder.iter_frames(instruction, start, cache, &mut read);
        let mut addresses = Vec::new();
        while let Ok(Some(address)) = frames.next() {
            addresses.push(address.address_for_lookup() as usize + 1);
            if addresses.len() == FRAMES_MAX {
                break;
            }
        }
        addresses
    }
}

/// The functions at this address: that which contains it, and before it those which are inlined there.
fn name(address: usize) -> Vec<StackFrame> {
    let mut frames = Vec::new();
    backtrace::resolve(ptr::without_provenance_mut(address), |symbol| {
        frames.push(StackFrame {
            function: symbol.name().map(|name| format!("{name:#}")),
            file: symbol.filename().map(|file| file.to_string_lossy().into_owned()),
            line: symbol.lineno(),
            address,
        });
    });
    if frames.is_empty() {
        frames.push(StackFrame { function: None, file: None, line: None, address });
    }
    frames
}

/// Removes what is ours at both ends: how a job waits, and how it came to run. Unless nothing else is there.
fn trim(frames: &mut Vec<StackFrame>) {
    let Some(first) = frames.iter().position(|frame| !is_ours(frame)) else { return };
    let last = frames.iter().rposition(|frame| !is_ours(frame) && !is_of_the_library(frame));
    frames.truncate(last.map_or(frames.len(), |last| last + 1));
    frames.drain(..first.min(frames.len()));
}

fn is_ours(frame: &StackFrame) -> bool {
    let function = frame.function.as_deref().unwrap_or("");
    // Line tables have names without paths.
    let in_our_sources = frame
        .file
        .as_deref()
        .is_some_and(|file| Path::new(file).starts_with(SOURCES) || file.contains("/corosensei-"));
    in_our_sources
        || ["ramie::", "<ramie::", "corosensei", "<corosensei"].iter().any(|ours| function.starts_with(ours))
        || ["stack_init_trampoline", "stack_call_trampoline"].iter().any(|ours| function.contains(ours))
}

fn is_of_the_library(frame: &StackFrame) -> bool {
    frame
        .file
        .as_deref()
        .is_some_and(|file| file.starts_with("/rustc/") || file.contains("/rustlib/src/rust/"))
}

// --- what is loaded --------------------------------------------------------------------------

fn unwinder_of_process() -> UnwinderX86_64<Vec<u8>> {
    let mut modules: Vec<Module<Vec<u8>>> = Vec::new();
    // SAFETY: the callback gets this pointer, during the call.
    unsafe { libc::dl_iterate_phdr(Some(add_module), (&raw mut modules).cast()) };
    let mut unwinder = UnwinderX86_64::new();
    modules.into_iter().for_each(|module| unwinder.add_module(module));
    unwinder
}

/// Copies the unwind tables of a module, because it may be unloaded after this call.
unsafe extern "C" fn add_module(
    info: *mut libc::dl_phdr_info,
    _: libc::size_t,
    modules: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: called by `dl_iterate_phdr` with a valid description, and with what `unwinder_of_process` has passed.
    let (info, modules) = unsafe { (&*info, &mut *modules.cast::<Vec<Module<Vec<u8>>>>()) };
    // SAFETY: the loader's description of the module, which stays loaded during this call.
    modules.extend(unsafe { module_of(info) });
    0
}

/// # Safety
///
/// `info` is what the loader says of a module that is loaded until this returns.
unsafe fn module_of(info: &libc::dl_phdr_info) -> Option<Module<Vec<u8>>> {
    if info.dlpi_phdr.is_null() {
        return None;
    }
    // SAFETY: promised by the caller.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    let range_of = |header: &libc::Elf64_Phdr| header.p_vaddr..header.p_vaddr.saturating_add(header.p_memsz);
    let loaded = || headers.iter().filter(|header| header.p_type == libc::PT_LOAD);
    let index = range_of(headers.iter().find(|header| header.p_type == libc::PT_GNU_EH_FRAME)?);
    let end_of_segment = |address: u64| {
        let segment = loaded().find(|header| range_of(header).contains(&address))?;
        // Only what comes from the file is sure to be there.
        (segment.p_flags & libc::PF_R != 0).then_some(segment.p_vaddr + segment.p_filesz)
    };
    if index.end > end_of_segment(index.start)? {
        return None;
    }
    // SAFETY: the range is in a segment that can be read.
    let index_bytes = unsafe { bytes_at(info.dlpi_addr, index.clone()) };
    let table_start = table_start(index.start, &index_bytes)?;
    let table = table_start..end_of_segment(table_start)?;
    if table.is_empty() {
        return None;
    }
    // SAFETY: as above.
    let table_bytes = unsafe { bytes_at(info.dlpi_addr, table.clone()) };
    let start = loaded().map(|header| header.p_vaddr).min()?;
    let end = loaded().map(|header| range_of(header).end).max()?;
    let base = info.dlpi_addr;
    Some(Module::new(
        String::new(),
        base.wrapping_add(start)..base.wrapping_add(end),
        base,
        ExplicitModuleSectionInfo {
            eh_frame_hdr_svma: Some(index),
            eh_frame_hdr: Some(index_bytes),
            eh_frame_svma: Some(table),
            eh_frame: Some(table_bytes),
            ..Default::default()
        },
    ))
}

/// Where `.eh_frame` begins, which `.eh_frame_hdr` says in its first words. Linkers write it relative to its own place.
fn table_start(index_start: u64, index: &[u8]) -> Option<u64> {
    const VERSION: u8 = 1;
    const RELATIVE_I32: u8 = 0x1b;
    let [VERSION, RELATIVE_I32, _, _, distance @ ..] = *index.first_chunk::<8>()? else { return None };
    (index_start + 4).checked_add_signed(i64::from(i32::from_le_bytes(distance)))
}

/// # Safety
///
/// The range, moved by `base`, can be read, and nobody writes to it.
unsafe fn bytes_at(base: u64, range: Range<u64>) -> Vec<u8> {
    let first = ptr::with_exposed_provenance::<u8>(base.wrapping_add(range.start) as usize);
    // SAFETY: promised by the caller.
    unsafe { std::slice::from_raw_parts(first, (range.end - range.start) as usize) }.to_vec()
}
