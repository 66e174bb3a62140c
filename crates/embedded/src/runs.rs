//! Runs of a program over a packet that is another each time.
#![allow(unsafe_code, reason = "says what stays as it is between runs")]

use bombus_vm::{Context, Execution, Series, Stack, Trap};

use crate::packet::Packet;
use crate::programs::Loaded;
use crate::run::{PACKET_CONTEXT, Run};

/// Such runs.
pub(crate) struct Runs<'a> {
    series: Series<'a, Run<'a>>,
    loaded: &'a Loaded,
}

impl<'a> Runs<'a> {
    /// Each may take so many instructions.
    pub(crate) fn new(
        run: Run<'a>,
        stack: &'a mut Stack,
        fuel: u64,
        loaded: &'a Loaded,
    ) -> Runs<'a> {
        let execution = Execution::new(stack, Context::ReadOnly(&[])).with_fuel(fuel);
        Runs { series: Series::new(execution, &loaded.program, PACKET_CONTEXT, run), loaded }
    }

    /// Makes a run.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<u64, Trap> {
        self.loaded.about_to_run(1);
        let result = self.series.run();
        self.run().finish();
        result
    }

    /// The packet.
    #[inline]
    pub(crate) fn packet(&mut self) -> Option<&mut Packet> {
        self.run().packet()
    }

    /// Whether there are lines that nobody has read.
    #[inline]
    pub(crate) fn has_printed(&mut self) -> bool {
        self.run().has_printed()
    }

    #[inline]
    fn run(&mut self) -> &mut Run<'a> {
        // SAFETY: nothing that is done with it here changes a table of elements.
        unsafe { self.series.subject() }
    }
}
