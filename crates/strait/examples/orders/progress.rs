//! How far it is: bars while it runs, when stderr is a terminal.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Counts what each service handled. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    pub(crate) placed: ProgressBar,
    pub(crate) charged: ProgressBar,
    pub(crate) shipped: ProgressBar,
    pub(crate) managed: ProgressBar,
    /// Orders whose last status arrived.
    finished: ProgressBar,
}

impl Progress {
    /// Bars on stderr; a stderr that is no terminal shows none.
    pub(crate) fn new() -> Self {
        let bars = MultiProgress::new();
        let style = ProgressStyle::with_template("{prefix:<10} {human_pos:>9} {unit} {per_sec}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = |name: &'static str| bars.add(ProgressBar::no_length().with_style(style.clone()).with_prefix(name));
        Self {
            placed: bar("placement"),
            charged: bar("payment"),
            shipped: bar("shipping"),
            managed: bar("management"),
            finished: bar("finished"),
        }
    }

    /// One more order is finished.
    pub(crate) fn finish(&self) {
        self.finished.inc(1);
    }

    /// How many orders are finished.
    pub(crate) fn finished(&self) -> u64 {
        self.finished.position()
    }

    /// Leaves the bars as they are.
    pub(crate) fn end(&self) {
        for bar in [&self.placed, &self.charged, &self.shipped, &self.managed, &self.finished] {
            bar.abandon();
        }
    }
}
