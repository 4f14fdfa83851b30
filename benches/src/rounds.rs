use crate::{Taken, stub::Counts};

/// What is measured in turns: ours, and what it is compared with.
pub const WHO: [&str; 2] = ["ours", "hand"];

/// The rounds of a case, in which both took turns.
#[derive(Debug, Default)]
pub struct Rounds {
    pairs: Vec<(Taken, Taken)>,
    requests: [Counts; 2],
}

impl Rounds {
    /// Runs `once` for both, in so many rounds; `only` one of them if that is said, and then nothing is compared. `once` is
    /// told which of the two it is, and brings what a message took and what was asked of the stub.
    ///
    /// # Errors
    ///
    /// What `once` says.
    pub fn run<E>(
        rounds: usize,
        only: Option<usize>,
        mut once: impl FnMut(usize) -> Result<(Taken, Counts), E>,
    ) -> Result<Self, E> {
        let mut all = Self::default();
        for round in 0..rounds {
            let mut pair = [None; 2];
            for turn in [round % 2, 1 - round % 2] {
                if only.is_some_and(|only| only != turn) {
                    continue;
                }
                let (taken, counts) = once(turn)?;
                pair[turn] = Some(taken);
                for (operation, (calls, messages)) in counts {
                    let count = all.requests[turn].entry(operation).or_default();
                    *count = (count.0 + calls, count.1 + messages);
                }
            }
            if let [Some(ours), Some(hand)] = pair {
                all.pairs.push((ours, hand));
            }
        }
        Ok(all)
    }

    /// The head of the table.
    pub fn head() -> String {
        format!("{:<18} {:>25} {:>25} {:>25} {:>25}", "", "us/message", "x throughput", "us CPU/message", "x CPU")
    }

    /// A line of the table, and how many messages requests had, in lines below it. Nothing if nothing was compared.
    pub fn lines(&self, name: &str) -> Vec<String> {
        if self.pairs.is_empty() {
            return Vec::new();
        }
        let each = |part: fn(&Taken) -> f64| {
            let (mut ours, mut hand): (Vec<_>, Vec<_>) =
                self.pairs.iter().map(|(ours, hand)| (part(ours), part(hand))).unzip();
            format!("{:.2} / {:.2}", median(&mut ours), median(&mut hand))
        };
        let ratio = |of: fn(&Taken, &Taken) -> f64| {
            let mut ratios: Vec<_> = self.pairs.iter().map(|(ours, hand)| of(ours, hand)).collect();
            let median = median(&mut ratios); // sorts them
            format!("{median:.3} ({:.3}-{:.3})", ratios[ratios.len() / 4], ratios[ratios.len() * 3 / 4])
        };
        let mut lines = vec![format!(
            "{name:<18} {:>25} {:>25} {:>25} {:>25}",
            each(|taken| taken.time),
            ratio(|ours, hand| hand.time / ours.time),
            each(|taken| taken.processor),
            ratio(|ours, hand| ours.processor / hand.processor),
        )];
        for (who, counts) in WHO.iter().zip(&self.requests) {
            for (operation, (calls, messages)) in counts.iter().filter(|(_, (_, messages))| *messages > 0) {
                lines.push(format!("{:<18} {who}: {calls} {operation} of {:.2}", "", ratio_of(*messages, *calls)));
            }
        }
        lines
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn ratio_of(messages: u64, calls: u64) -> f64 {
    messages as f64 / calls as f64
}

/// The median; sorts the values.
///
/// # Panics
///
/// If there are none.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}
