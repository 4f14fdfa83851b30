use std::collections::VecDeque;

/// Counts messages without an outcome by generation, so that a flush knows when those before it are over.
///
/// A flush begins a generation unless the newest is still empty: there are never more than one for each flush that has
/// something to wait for, however many are begun.
#[derive(Debug)]
pub(in crate::sender) struct Flushes {
    /// How many of each generation have no outcome. Only the newest may have none.
    left: VecDeque<usize>,
    /// The number of the first of them.
    first: u64,
    /// How many flushes wait.
    waiting: usize,
}

impl Default for Flushes {
    fn default() -> Self {
        Self { left: VecDeque::from([0]), first: 0, waiting: 0 }
    }
}

impl Flushes {
    /// A message is accepted. Returns its generation.
    pub(super) fn accept(&mut self) -> u64 {
        *self.left.back_mut().expect("there is always one") += 1;
        self.newest()
    }

    /// A message of this generation has its outcome. Returns whether a flush may be over.
    pub(super) fn resolve(&mut self, generation: u64) -> bool {
        let index = usize::try_from(generation - self.first).expect("as many as there are flushes");
        self.left[index] -= 1;
        let before = self.first;
        while self.left.len() > 1 && self.left[0] == 0 {
            self.left.pop_front();
            self.first += 1;
        }
        self.first > before
    }

    /// Begins a flush. Returns the generation before which it waits for everything.
    pub(in crate::sender) fn begin(&mut self) -> u64 {
        self.waiting += 1;
        if self.left.back().is_some_and(|left| *left > 0) {
            self.left.push_back(0);
        }
        self.newest()
    }

    /// Whether everything before this generation has its outcome.
    pub(in crate::sender) fn is_over(&self, generation: u64) -> bool {
        self.first >= generation
    }

    /// A flush is over, or nobody waits for it any more.
    pub(in crate::sender) fn end(&mut self) {
        self.waiting -= 1;
    }

    /// Whether somebody waits.
    pub(super) fn are_under_way(&self) -> bool {
        self.waiting > 0
    }

    fn newest(&self) -> u64 {
        self.first + self.left.len() as u64 - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_waits_for_what_is_older_and_for_nothing_else() {
        let mut flushes = Flushes::default();
        let (a, b) = (flushes.accept(), flushes.accept());
        let first = flushes.begin();
        let c = flushes.accept();
        let second = flushes.begin();
        assert!(!flushes.resolve(c) && !flushes.is_over(second), "what is older is not over");
        assert!(!flushes.resolve(b) && !flushes.is_over(first));
        assert!(flushes.resolve(a) && flushes.is_over(first) && flushes.is_over(second));
        assert!(flushes.are_under_way());
        flushes.end();
        assert!(flushes.are_under_way());
        flushes.end();
        assert!(!flushes.are_under_way());
    }

    #[test]
    fn flushes_of_nothing_new_leave_nothing_behind() {
        let mut flushes = Flushes::default();
        for _ in 0..1000 {
            let idle = flushes.begin();
            assert!(flushes.is_over(idle));
            flushes.end();
        }
        assert_eq!(flushes.left.len(), 1);
        let message = flushes.accept();
        for _ in 0..1000 {
            let busy = flushes.begin();
            assert!(!flushes.is_over(busy));
            flushes.end();
        }
        assert_eq!(flushes.left.len(), 2);
        assert!(flushes.resolve(message));
        assert_eq!(flushes.left.len(), 1);
    }
}
