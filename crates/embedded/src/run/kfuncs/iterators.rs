//! Iterators, whose state is on the program's stack.

use std::rc::Rc;

use bombus_vm::TrapKind;

use super::{Context, failure};
use crate::run::memory::{object_address, object_offset};

/// Words that the iterator over bits takes (`BITS_ITER_NR_WORDS_MAX`).
const MOST_WORDS: u32 = 511;

/// `iter_num_new(it, start, end)`: a number before the current one, and the end (`bpf_iter_num_kern`).
pub(super) fn num_new(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (it, start, end) = (context.arg(0), context.arg(1) as i32, context.arg(2) as i32);
    let len = i64::from(end) - i64::from(start);
    let refused = match len {
        ..0 => Some(libc::EINVAL),
        // (`BPF_MAX_LOOPS`)
        len if len > 8 << 20 => Some(libc::E2BIG),
        _ => None,
    };
    let (before, end) = if refused.is_some() { (0, 0) } else { (start.wrapping_sub(1), end) };
    context.set_half(it, before as u32)?;
    context.set_half(it.wrapping_add(4), end as u32)?;
    Ok(refused.map_or(0, failure))
}

/// `iter_num_next(it)`: a pointer to the number.
pub(super) fn num_next(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let it = context.arg(0);
    let next = (context.half(it)? as i32).wrapping_add(1);
    let end = context.half(it.wrapping_add(4))? as i32;
    if next >= end {
        context.set_word(it, 0)?;
        return Ok(0);
    }
    context.set_half(it, next as u32)?;
    Ok(it)
}

pub(super) fn num_destroy(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    context.set_word(context.arg(0), 0)?;
    Ok(0)
}

/// `iter_bits_new(it, words, count)`: the word, or where a copy of the words is; how many bits; the
/// one before the next (`bpf_iter_bits_kern`).
pub(super) fn bits_new(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (it, words, count) = (context.arg(0), context.arg(1), context.arg(2) as u32);
    context.set_word(it, 0)?;
    context.set_half(it.wrapping_add(8), 0)?;
    context.set_half(it.wrapping_add(12), u32::MAX)?;
    if words == 0 || count == 0 {
        return Ok(failure(libc::EINVAL));
    }
    if count > MOST_WORDS {
        return Ok(failure(libc::E2BIG));
    }
    let len = count as usize * 8;
    let mut bytes = std::mem::take(&mut context.run.buffers.value);
    let copied = context.copy(words, len, &mut bytes);
    let state = match (copied, count) {
        (Err(_), _) => Err(libc::EFAULT),
        (Ok(()), 1) => Ok(bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word))),
        (Ok(()), _) => {
            let objects = &mut context.run.objects;
            let place = objects.allocate(len, Rc::new([])).ok_or(libc::ENOMEM);
            if let Some(copy) = place.ok().and_then(|place| objects.at_mut(place, len)) {
                copy.copy_from_slice(&bytes);
            }
            place.map(object_address)
        }
    };
    context.run.buffers.value = bytes;
    match state {
        Ok(state) => {
            context.set_word(it, state)?;
            context.set_half(it.wrapping_add(8), count * 64)?;
            Ok(0)
        }
        Err(errno) => Ok(failure(errno)),
    }
}

/// `iter_bits_next(it)`: a pointer to the number of the next bit that is set.
pub(super) fn bits_next(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let it = context.arg(0);
    let state = context.word(it)?;
    let (count, last) = (context.half(it.wrapping_add(8))?, context.half(it.wrapping_add(12))?);
    let mut bit = last.wrapping_add(1);
    while bit < count {
        let place = u64::from(bit / 64 * 8);
        let word = if count == 64 { state } else { context.word(state.wrapping_add(place))? };
        let rest = word >> (bit % 64);
        if rest != 0 {
            let bit = bit + rest.trailing_zeros();
            context.set_half(it.wrapping_add(12), bit)?;
            return Ok(it.wrapping_add(12));
        }
        bit = (bit / 64 + 1) * 64;
    }
    context.set_half(it.wrapping_add(12), count)?;
    Ok(0)
}

pub(super) fn bits_destroy(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let it = context.arg(0);
    let count = context.half(it.wrapping_add(8))?;
    if let Some(copy) = object_offset(context.word(it)?).filter(|_| count > 64) {
        context.run.objects.release(copy);
    }
    context.set_half(it.wrapping_add(8), 0)?;
    Ok(0)
}
