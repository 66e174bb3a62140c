//! Waiting where frames have to be carried as well: looks at the traced processes and at the devices
//! in turn, and sleeps when neither has anything.

use std::time::{Duration, Instant};

use bombus_kernel::{MapFd, Result, Wake};

use crate::Embedded;
use crate::dispatch::dispatch;
use crate::hooks::{ChildSignals, Control};
use crate::maps::Ringbuf;
use crate::network::wait_readable;
use crate::tracer::rings;

/// How long to sleep at most: from time to time the hooks have things to do.
const TICK: Duration = Duration::from_millis(20);

impl Embedded {
    /// [`bombus_kernel::Tracer::wait`], with frames.
    pub(crate) fn wait_and_carry(
        &self,
        wanted: &[MapFd],
        deadline: Option<Instant>,
    ) -> Result<Wake> {
        let children = ChildSignals::watch()?;
        let mut engine = self.engine.borrow_mut();
        let links = self.links.borrow();
        let mut tick = Instant::now() + TICK;
        loop {
            let now = Instant::now();
            let flush = self.flush_at(wanted);
            if flush.is_some_and(|flush| flush <= now) {
                return Ok(Wake::Records);
            }
            children.take();
            let mut on = |event, task: &mut dyn crate::hooks::Task| {
                let mut core = self.core.borrow_mut();
                dispatch(&mut core, &links, event, task);
                let hurry = rings(&core, wanted).any(Ringbuf::is_half_full);
                if hurry { Control::Return } else { Control::Continue }
            };
            match engine.poll(&mut on) {
                None | Some(Wake::Records) => {}
                Some(wake) => return Ok(wake),
            }
            if tick <= now {
                engine.tick(&mut on);
                tick = now + TICK;
            }
            let mut network = self.network.borrow_mut();
            let mut core = self.core.borrow_mut();
            self.timers.borrow_mut().fire(now, &mut engine, &mut core);
            core.run_deferred();
            let came = network.carry(&mut core)?;
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(Wake::Deadline);
            }
            if !came {
                let put_off = core.workspace.deferred.next_due();
                let due = [deadline, flush, self.timers.borrow().next_due(), put_off, Some(tick)];
                let until = due.into_iter().flatten().min().unwrap_or(now);
                let others = engine.signals().into_iter().chain([children.fd()]);
                wait_readable(
                    network.ports().chain(others),
                    until.saturating_duration_since(Instant::now()),
                );
            }
        }
    }

    /// Carries frames past no programs, until nobody is left who could send any.
    pub(crate) fn carry_until_gone(&self) {
        use bombus_kernel::Kernel;
        self.detach_all();
        let mut engine = self.engine.borrow_mut();
        let mut network = self.network.borrow_mut();
        let Ok(children) = ChildSignals::watch() else { return };
        while engine.has_tasks() {
            children.take();
            let mut ignore = |_, _: &mut dyn crate::hooks::Task| Control::Continue;
            engine.poll(&mut ignore);
            engine.tick(&mut ignore);
            if !network.carry(&mut self.core.borrow_mut()).unwrap_or(false) {
                wait_readable(network.ports().chain([children.fd()]), TICK);
            }
        }
    }
}
