//! The script's maps: read for printing, cleared, zeroed.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashSet;

use bombus_kernel::{Kernel, Loaded, MapFd, Result, UpdateFlag};
use bombus_report::{Contents, Entry, Map, MapKind, Value};
use bombus_script::plan::{MapPlan, MapValue, Plan};

use crate::decode::{Decoder, compare, slice, unsigned};
use crate::fold::{Folded, fold};

/// The maps of a loaded plan.
pub struct Maps<'a> {
    kernel: &'a dyn Kernel,
    plan: &'a Plan,
    loaded: &'a Loaded,
    /// Maps without keys that `zero()` left with nothing to see in them, by index in the object.
    zeroed: RefCell<HashSet<u32>>,
}

impl<'a> Maps<'a> {
    /// Of `plan`, as `loaded` into `kernel`.
    pub fn new(kernel: &'a dyn Kernel, plan: &'a Plan, loaded: &'a Loaded) -> Maps<'a> {
        Maps { kernel, plan, loaded, zeroed: RefCell::default() }
    }

    /// Indices in [`Plan::maps`] by name: the order in which the maps are shown at the end.
    pub fn by_name(&self) -> Vec<u32> {
        let mut order: Vec<_> = (0..self.plan.maps.len() as u32).collect();
        order.sort_by_key(|&map| self.map(map).map(|map| map.name.as_str()));
        order
    }

    /// What is in a map. Keys stand in the order of their values, smallest first, and where values
    /// have no order in that of the keys. `top` keeps the last so many (0: all), `div` divides
    /// (0: by one).
    pub fn contents(&self, map: u32, top: u64, div: u64, decoder: &Decoder<'_>) -> Result<Map> {
        let Some(plan) = self.map(map) else { return Ok(empty()) };
        let mut elements = Vec::new();
        for (key, value) in self.kernel.map_elements(self.fd(plan)?)? {
            let folded = fold(&plan.value, &self.cpus(plan, &value), div, decoder);
            if plan.key.is_some() || self.is_present(plan, &value, &folded) {
                elements.push((key, folded));
            }
        }
        elements.sort_by(|(a_key, a), (b_key, b)| {
            let by_key =
                || plan.key.as_ref().map_or(Ordering::Equal, |ty| compare(ty, a_key, b_key));
            a.rank.cmp(&b.rank).then_with(by_key)
        });
        let contents = match &plan.key {
            Some(ty) => {
                let skip = match usize::try_from(top) {
                    Ok(0) | Err(_) => 0,
                    Ok(top) => elements.len().saturating_sub(top),
                };
                let shown =
                    |(key, folded): (Vec<u8>, Folded)| (decoder.value(ty, &key), folded.entry);
                Contents::Keyed(elements.into_iter().skip(skip).map(shown).collect())
            }
            None => match elements.pop() {
                Some((_, folded)) => Contents::Single(folded.entry),
                None => Contents::Keyed(Vec::new()),
            },
        };
        let kind = match plan.value {
            MapValue::Avg { .. } | MapValue::Stats { .. } => MapKind::Stats,
            MapValue::Hist { .. } | MapValue::LHist { .. } => MapKind::Histogram,
            _ => MapKind::Plain,
        };
        Ok(Map { name: plan.name.clone(), kind, contents })
    }

    /// What `print(@map)` shows: as [`Maps::contents`], but a map without keys that nothing was
    /// stored in shows its type's zero. (Histograms have none.)
    pub fn for_print(&self, map: u32, top: u64, div: u64, decoder: &Decoder<'_>) -> Result<Map> {
        let mut shown = self.contents(map, top, div, decoder)?;
        let Some(plan) = self.map(map) else { return Ok(shown) };
        let unset = matches!(&shown.contents, Contents::Keyed(entries) if entries.is_empty());
        if plan.key.is_none() && unset && shown.kind != MapKind::Histogram {
            shown.contents = Contents::Single(fold(&plan.value, &[], div, decoder).entry);
        }
        Ok(shown)
    }

    /// What is at one key (the bytes of it); the type's zero when nothing is.
    pub fn element(&self, map: u32, key: &[u8], decoder: &Decoder<'_>) -> Result<Value> {
        let Some(plan) = self.map(map) else { return Ok(Value::None) };
        let size = self.spec(plan).key_size as usize;
        let mut key = slice(key, 0, size).to_vec();
        key.resize(size, 0);
        let value = self.kernel.map_lookup(self.fd(plan)?, &key)?.unwrap_or_default();
        Ok(match fold(&plan.value, &self.cpus(plan, &value), 0, decoder).entry {
            Entry::Value(value) => value,
            Entry::Histogram(_) => Value::None,
        })
    }

    /// `clear(@map)`: as if nothing had ever been stored.
    pub fn clear(&self, map: u32) -> Result<()> {
        let Some(plan) = self.map(map) else { return Ok(()) };
        if plan.key.is_none() {
            self.zeroed.borrow_mut().remove(&plan.index);
            let size = self.value_size(plan);
            return self.for_each_key(plan, |key| self.store(plan, key, &vec![0; size]));
        }
        self.for_each_key(plan, |key| self.kernel.map_delete(self.fd(plan)?, key).map(|_| ()))
    }

    /// `zero(@map)`: the keys stay, the values become zero.
    pub fn zero(&self, map: u32) -> Result<()> {
        let Some(plan) = self.map(map) else { return Ok(()) };
        let mut zero = vec![0; self.value_size(plan)];
        if plan.key.is_none() {
            let value = self.kernel.map_lookup(self.fd(plan)?, &self.only_key(plan))?;
            let value = value.unwrap_or_default();
            let folded = fold(&plan.value, &self.cpus(plan, &value), 0, &Decoder::new(&[]));
            if !self.is_present(plan, &value, &folded) {
                return Ok(());
            }
            self.zeroed.borrow_mut().insert(plan.index);
            if let Some(mark) = plan.present_at.map(|at| at as usize).filter(|at| *at < zero.len())
            {
                zero[mark] = 1;
            }
        }
        self.for_each_key(plan, |key| self.store(plan, key, &zero))
    }

    fn store(&self, plan: &MapPlan, key: &[u8], value: &[u8]) -> Result<()> {
        // Only what is there: a key may go while this runs.
        match self.kernel.map_update(self.fd(plan)?, key, value, UpdateFlag::Exist) {
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(()),
            other => other,
        }
    }

    fn for_each_key(
        &self,
        plan: &MapPlan,
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        if plan.key.is_none() {
            return each(&self.only_key(plan));
        }
        let mut keys = Vec::new();
        let mut key = self.kernel.map_next_key(self.fd(plan)?, None)?;
        // Programs may add keys all the time; a map has no more than this many.
        let most = self.spec(plan).max_entries as usize;
        while let Some(current) = key.filter(|_| keys.len() <= most) {
            key = self.kernel.map_next_key(self.fd(plan)?, Some(&current))?;
            keys.push(current);
        }
        keys.iter().try_for_each(|key| each(key))
    }

    /// The key of a map without keys: it is an array of one element.
    fn only_key(&self, plan: &MapPlan) -> Vec<u8> {
        vec![0; self.spec(plan).key_size as usize]
    }

    /// Whether a map without keys was ever stored to.
    fn is_present(&self, plan: &MapPlan, value: &[u8], folded: &Folded) -> bool {
        let marked = |at: u32| {
            let mark = |cpu: &&[u8]| unsigned(slice(cpu, at as usize, 8), 8);
            self.cpus(plan, value).iter().any(|cpu| mark(cpu) != 0)
        };
        folded.touched
            || self.zeroed.borrow().contains(&plan.index)
            || match plan.present_at {
                Some(at) => marked(at),
                None => matches!(plan.value, MapValue::Plain(_)),
            }
    }

    fn map(&self, map: u32) -> Option<&'a MapPlan> {
        self.plan.maps.get(map as usize)
    }

    fn fd(&self, plan: &MapPlan) -> Result<MapFd> {
        self.loaded.map_at(plan.index)
    }

    fn spec(&self, plan: &MapPlan) -> &'a bombus_spec::MapSpec {
        &self.plan.object.maps[plan.index as usize]
    }

    fn is_per_cpu(&self, plan: &MapPlan) -> bool {
        self.spec(plan).map_type.is_per_cpu()
    }

    /// Bytes of a value with all its CPUs.
    fn value_size(&self, plan: &MapPlan) -> usize {
        let size = self.spec(plan).value_size as usize;
        match self.is_per_cpu(plan) {
            true => size.next_multiple_of(8) * self.kernel.features().possible_cpus as usize,
            false => size,
        }
    }

    /// Every CPU's part of a value.
    fn cpus<'v>(&self, plan: &MapPlan, value: &'v [u8]) -> Vec<&'v [u8]> {
        let size = self.spec(plan).value_size as usize;
        match self.is_per_cpu(plan) {
            true => value.chunks(size.next_multiple_of(8).max(8)).collect(),
            false => vec![value],
        }
    }
}

fn empty() -> Map {
    Map { name: String::new(), kind: MapKind::Plain, contents: Contents::Keyed(Vec::new()) }
}
