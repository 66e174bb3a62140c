//! Doing what programs put off.

use std::time::Instant;

use bombus_vm::{Context, Execution};

use super::memory::{array_key_address, key_address, map_address, value_address, value_location};
use super::{Occasion, Run};
use crate::core::Core;
use crate::deferred::Due;
use crate::hooks::Task;
use crate::this_task::ThisTask;

impl Core {
    /// Does what is due.
    #[inline]
    pub(crate) fn run_deferred(&mut self) {
        if self.workspace.deferred.next_due().is_some() {
            self.run_due(Instant::now());
        }
    }

    #[cold]
    fn run_due(&mut self, now: Instant) {
        while let Some(due) = self.workspace.deferred.begin(now) {
            if self.call_back(due).is_none() {
                self.workspace.deferred.remove(due.number);
            }
            self.workspace.deferred.end();
        }
    }

    /// Calls the function; nothing when there is none, or no value names it any more.
    fn call_back(&mut self, due: Due) -> Option<()> {
        let loaded = self.programs.get(due.callback.program as usize)?;
        let mut task = ThisTask;
        let occasion = Occasion { cpu: task.cpu() % self.cpus, ..Occasion::default() };
        let (maps, workspace) = (&mut self.maps, &mut self.workspace);
        let (mut run, stack) = Run::new(maps, &self.programs, workspace, &mut task, None, occasion);
        run.arena = loaded.arena;
        let arguments = run.arguments(due)?;
        let mut execution = Execution::new(stack, Context::ReadOnly(&[])).with_fuel(self.fuel);
        let function = due.callback.function;
        let result = execution.call(&loaded.program, function, &arguments, &mut run);
        run.finish();
        self.outcome(result);
        Some(())
    }
}

impl Run<'_> {
    /// What a callback is given: the map, the key and the value.
    fn arguments(&mut self, due: Due) -> Option<[u64; 3]> {
        let (map, offset) = value_location(due.place)?;
        let table = self.maps.get(map)?.table()?;
        let named = table.values().at(offset, 8)?;
        if named != due.number.to_le_bytes() {
            return None;
        }
        let (element, start) = table.element_at(offset);
        Some([map_address(map), self.key_at(map, element)?, value_address(map, start)])
    }

    /// The address of an element's key, until the end of the run or until `array_keys` are forgotten.
    pub(super) fn key_at(&mut self, map: usize, element: usize) -> Option<u64> {
        Some(match self.maps.get(map)?.table()?.keys() {
            Some(keys) => key_address(map, keys.offset_of(element)),
            None => {
                let array_keys = &mut self.buffers.array_keys;
                array_keys.push((element as u32).to_ne_bytes());
                array_key_address(array_keys.len() - 1)
            }
        })
    }
}
