use crate::Taken;

/// What each round took, by Strait and by what it is compared with.
#[derive(Clone, Debug, Default)]
pub struct Pairs(Vec<(Taken, Taken)>);

impl Pairs {
    /// A round of both.
    pub fn push(&mut self, ours: Taken, other: Taken) {
        self.0.push((ours, other));
    }

    /// Whether no round was one of both.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The columns that [`row`](Self::row) fills.
    pub fn head() -> String {
        format!("{:<12} {:>25} {:>25} {:>25} {:>25}", "", "us/message", "x throughput", "us CPU/message", "x CPU")
    }

    /// Medians of both, and of the ratios of each round the median and the quartiles.
    pub fn row(&self, name: &str) -> String {
        let each = |part: fn(&Taken) -> f64| {
            let (mut ours, mut other): (Vec<_>, Vec<_>) =
                self.0.iter().map(|(ours, other)| (part(ours), part(other))).unzip();
            format!("{:.1} / {:.1}", median(&mut ours), median(&mut other))
        };
        let ratio = |of: fn(&Taken, &Taken) -> f64| {
            let mut ratios: Vec<_> = self.0.iter().map(|(ours, other)| of(ours, other)).collect();
            let median = median(&mut ratios); // sorts them
            format!("{median:.3} ({:.3}-{:.3})", ratios[ratios.len() / 4], ratios[ratios.len() * 3 / 4])
        };
        format!(
            "{name:<12} {:>25} {:>25} {:>25} {:>25}",
            each(|taken| taken.time),
            ratio(|ours, other| other.time / ours.time),
            each(|taken| taken.processor),
            ratio(|ours, other| ours.processor / other.processor),
        )
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}
