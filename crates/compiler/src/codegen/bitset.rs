//! Sets of small numbers, a bit each.

/// A set of numbers below a bound.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct BitSet(Vec<u64>);

impl BitSet {
    /// Empty, for numbers below `bound`.
    pub(super) fn new(bound: usize) -> BitSet {
        BitSet(vec![0; bound.div_ceil(64)])
    }

    pub(super) fn insert(&mut self, number: usize) {
        self.0[number / 64] |= 1 << (number % 64);
    }

    pub(super) fn remove(&mut self, number: usize) {
        self.0[number / 64] &= !(1 << (number % 64));
    }

    pub(super) fn contains(&self, number: usize) -> bool {
        self.0[number / 64] & 1 << (number % 64) != 0
    }

    /// Adds all of `other`; says whether that changed anything.
    pub(super) fn union(&mut self, other: &BitSet) -> bool {
        let mut changed = false;
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            changed |= other & !*word != 0;
            *word |= other;
        }
        changed
    }

    pub(super) fn intersect(&mut self, other: &BitSet) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= other);
    }

    pub(super) fn subtract(&mut self, other: &BitSet) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= !other);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(i, &word)| {
            let next = |word: &u64| Some(word & (word - 1)).filter(|&rest| rest != 0);
            let bits = std::iter::successors(Some(word).filter(|&word| word != 0), next);
            bits.map(move |word| i * 64 + word.trailing_zeros() as usize)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::BitSet;

    #[test]
    fn sets() {
        let mut a = BitSet::new(130);
        [0, 63, 64, 129].iter().for_each(|&number| a.insert(number));
        assert_eq!(a.iter().collect::<Vec<_>>(), [0, 63, 64, 129]);
        let mut b = BitSet::new(130);
        b.insert(64);
        assert!(!a.union(&b));
        assert!(b.union(&a));
        let mut c = BitSet::new(130);
        c.insert(63);
        b.subtract(&c);
        assert!(!b.contains(63) && b.contains(0));
        a.intersect(&c);
        assert_eq!(a, c);
        a.remove(63);
        assert_eq!(a, BitSet::new(130));
    }
}
