//! A lock that costs nothing but plain instructions to the thread that has it again and again.
//!
//! A locked instruction is dearer than all the rest of an update. So a lock that one thread takes
//! many times in a row gets a *bias* to it: as long as that holds, the thread only says in a word
//! of its own that it is inside, and looks whether the bias still holds; the lock's word stays as it
//! is. Others take the word, which keeps all but that thread out, and then take the bias away: they
//! say so, have every thread of the process pass a memory barrier (`membarrier(2)`), and wait until
//! the thread is outside. Either the thread sees then that the bias is gone, or it is seen inside.
//! From there on it is a lock as any other, until one thread again takes it many times in a row, by
//! which what it cost to take the bias away is paid for.
//!
//! As with any lock, a thread that is inside must not take it again, not in a signal handler either.
//!
//! All that two threads that change the same things write moves from one CPU to the other each time,
//! so together they are slower than one alone. So who finds another at work keeps away for a while:
//! as long as the other one is busy, and not longer than what moving everything takes twenty times.
//! It looks a few times, and then sleeps through, for a sleep takes something from the other one, too,
//! where two CPUs share a core: in a virtual machine, where the host may keep the core busy for a while
//! in the hope that the CPU comes back (`Documentation/virt/kvm/halt-polling.rst`), 20 us of 500.

use crate::sync::{AtomicU32, Ordering, heavy_fence, light_fence, rest, spin_loop, yield_now};

/// Turns of the waiting loop, half a millisecond, that a thread keeps away at most.
pub(crate) const PATIENCE: u32 = 10_240;
/// Turns after which it looks for the first time whether the other one is busy.
const FIRST_LOOK: u32 = 8;
/// Turns in which who has just begun cannot do much: everything is still at another CPU.
const SLOW_START: u32 = 128;
/// Turns that are better spent by leaving the CPU.
const REST: u32 = 256;
/// Turns of waiting for the lock itself after which others may run: who is inside may have lost its
/// CPU.
const SPINS: u32 = 64;

/// Where a thread says that it is inside a lock that has a bias to it: then the number is odd. It
/// counts up.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Presence(AtomicU32);

/// A thread as locks see it.
#[derive(Clone, Copy)]
pub(crate) struct Thread<'a> {
    /// Not zero, and no other thread's at the time.
    pub(crate) number: u32,
    pub(crate) presence: &'a Presence,
}

/// All threads by their number.
pub(crate) trait Threads<'a> {
    /// How often in a row a thread has to take a lock to be given the bias.
    const ROW: u32;
    /// Turns in which one that is busy notices that the bias is gone.
    const NOTICE: u32;

    /// This one, if it can be given a bias.
    fn this(&self) -> Option<Thread<'a>>;

    /// Where the thread with a number says that it is inside.
    fn presence(&self, number: u32) -> Option<&'a Presence>;
}

/// The lock. All zeros is one that is free.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct BiasedLock {
    /// Odd when somebody is inside who is not who the bias is to. It counts up.
    word: AtomicU32,
    /// The number of the thread that the bias is to, or zero. Who holds the word changes it.
    bias: AtomicU32,
    /// Who held the word last.
    last: AtomicU32,
    /// How often in a row.
    row: AtomicU32,
    /// The number of the thread that the bias is being taken away from, until it has seen that.
    losing: AtomicU32,
}

/// How a lock is held.
#[derive(Clone, Copy)]
pub(crate) enum Held<'a> {
    /// By its word.
    Word,
    /// By the bias.
    Bias(&'a Presence),
}

impl BiasedLock {
    /// Takes the lock. When another thread is busy inside, keeps away for so many turns first.
    #[inline(always)]
    pub(crate) fn lock<'a>(&self, threads: &impl Threads<'a>, patience: u32) -> Held<'a> {
        self.try_lock(threads).unwrap_or_else(|| self.wait(threads, patience))
    }

    /// Takes the lock, unless another thread has it, or a bias.
    #[inline(always)]
    pub(crate) fn try_lock<'a>(&self, threads: &impl Threads<'a>) -> Option<Held<'a>> {
        let this = threads.this();
        if let Some(this) = this
            && let Some(held) = self.enter(this)
        {
            return Some(held);
        }
        if self.bias.load(Ordering::Relaxed) == 0 && self.take() {
            return Some(self.taken(this, threads));
        }
        None
    }

    /// Goes in by the bias, if it is to this thread.
    #[inline(always)]
    pub(crate) fn enter<'a>(&self, this: Thread<'a>) -> Option<Held<'a>> {
        let Presence(inside) = this.presence;
        if self.bias.load(Ordering::Relaxed) != this.number {
            return None;
        }
        let count = inside.load(Ordering::Relaxed);
        // In a lock within a lock it would not say in which one it is when it is out of one.
        if count & 1 != 0 {
            return None;
        }
        // Whoever waits for the thread to leave may only see that it tries to come back: all its
        // stores here release what it did before.
        inside.store(count.wrapping_add(1), Ordering::Release);
        light_fence();
        if self.bias.load(Ordering::Relaxed) != this.number {
            inside.store(count.wrapping_add(2), Ordering::Release);
            return None;
        }
        Some(Held::Bias(this.presence))
    }

    /// Does something while it is held.
    #[inline(always)]
    pub(crate) fn with<'a>(&self, threads: &impl Threads<'a>, patience: u32, act: impl FnOnce()) {
        let held = self.lock(threads, patience);
        act();
        self.unlock(held);
    }

    /// Gives it back.
    #[inline(always)]
    pub(crate) fn unlock(&self, held: Held<'_>) {
        let count = match held {
            Held::Bias(Presence(inside)) => inside,
            Held::Word => &self.word,
        };
        count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
    }

    /// Takes a lock that never has a bias, unless somebody has it.
    #[inline(always)]
    pub(crate) fn try_lock_unbiased(&self) -> Option<Held<'static>> {
        self.take().then_some(Held::Word)
    }

    /// Takes the word, unless somebody has it.
    #[inline(always)]
    fn take(&self) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
        word & 1 == 0 && self.word.compare_exchange(word, word + 1, success, failure).is_ok()
    }

    /// What there is to be done once the word is taken.
    #[inline(always)]
    fn taken<'a, T: Threads<'a>>(&self, this: Option<Thread<'a>>, threads: &T) -> Held<'a> {
        let bias = self.bias.load(Ordering::Relaxed);
        if bias != 0 && this.is_none_or(|this| this.number != bias) {
            self.take_away(bias, threads);
        }
        let Some(Thread { number, .. }) = this else { return Held::Word };
        if self.last.load(Ordering::Relaxed) == number {
            let row = self.row.load(Ordering::Relaxed);
            self.row.store(row + 1, Ordering::Relaxed);
            if row >= T::ROW {
                self.row.store(0, Ordering::Relaxed);
                self.bias.store(number, Ordering::Relaxed);
            }
        } else {
            self.last.store(number, Ordering::Relaxed);
            self.row.store(0, Ordering::Relaxed);
        }
        Held::Word
    }

    /// Takes the bias away from another thread.
    #[cold]
    fn take_away<'a, T: Threads<'a>>(&self, bias: u32, threads: &T) {
        self.losing.store(bias, Ordering::Relaxed);
        self.bias.store(0, Ordering::Release);
        // Who is busy here sees it at once.
        for _ in 0..T::NOTICE {
            if self.losing.load(Ordering::Acquire) == 0 {
                return;
            }
            spin_loop();
        }
        heavy_fence();
        if let Some(Presence(inside)) = threads.presence(bias) {
            let before = inside.load(Ordering::Acquire);
            let mut turns = 0;
            // Once it has left it does not come in here any more, whatever else it goes into.
            while before & 1 != 0 && inside.load(Ordering::Acquire) == before {
                pause(&mut turns);
            }
        }
        self.losing.store(0, Ordering::Relaxed);
    }

    /// Says that this thread has seen that it has the bias no more: it is outside, and will not come
    /// in by it.
    fn notice(&self, this: Option<Thread<'_>>) {
        let Some(Thread { number, .. }) = this else { return };
        let gone = self.bias.load(Ordering::Acquire) != number;
        if gone && self.losing.load(Ordering::Relaxed) == number {
            // Somebody else may be losing it by now, if the other one did not wait for this.
            let (success, failure) = (Ordering::Release, Ordering::Relaxed);
            let _ = self.losing.compare_exchange(number, 0, success, failure);
        }
    }

    #[cold]
    fn wait<'a, T: Threads<'a>>(&self, threads: &T, patience: u32) -> Held<'a> {
        let this = threads.this();
        self.notice(this);
        let crowded = self.keep_away(threads, patience);
        let mut turns = 0;
        while !self.take() {
            self.notice(this);
            pause(&mut turns);
        }
        let held = self.taken(this, threads);
        if crowded {
            // It will be this thread's for as long as the other one keeps away.
            self.row.store(T::ROW, Ordering::Relaxed);
        }
        held
    }

    /// Waits as long as somebody else is busy inside; `false` if that was not to the end.
    fn keep_away<'a>(&self, threads: &impl Threads<'a>, patience: u32) -> bool {
        let (mut look, mut left) = (FIRST_LOOK, patience);
        while left > 0 {
            let before = self.activity(threads);
            if look < REST {
                (0..look).for_each(|_| spin_loop());
            } else {
                rest(look);
            }
            let now = self.activity(threads);
            // Each time that somebody is inside counts two. Less than one time in two turns is not
            // much, except in the beginning.
            let busy = if patience - left < SLOW_START { 2 } else { look };
            if !now.inside && now.count.wrapping_sub(before.count) < busy {
                return false;
            }
            left = left.saturating_sub(look);
            look = if 2 * look < REST { 2 * look } else { left }.min(left);
        }
        true
    }

    /// What others do here at the moment.
    fn activity<'a>(&self, threads: &impl Threads<'a>) -> Activity {
        let word = self.word.load(Ordering::Relaxed);
        let bias = self.bias.load(Ordering::Relaxed);
        let presence = if bias == 0 { None } else { threads.presence(bias) };
        let presence = presence.map_or(0, |Presence(inside)| inside.load(Ordering::Relaxed));
        Activity { count: word.wrapping_add(presence), inside: (word | presence) & 1 != 0 }
    }
}

/// What can be seen of those who use a lock.
struct Activity {
    /// Counts up when somebody goes in or out.
    count: u32,
    /// Whether somebody is inside.
    inside: bool,
}

/// Waits a moment.
fn pause(turns: &mut u32) {
    *turns += 1;
    if *turns < SPINS { spin_loop() } else { yield_now() }
}
