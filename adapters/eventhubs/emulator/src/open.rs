use tokio::sync::watch;

/// How many connections and links are open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Connections, from when they are accepted.
    pub connections: usize,
    /// Links of every kind.
    pub links: usize,
}

/// Counts what is open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gauge(watch::Sender<Open>);

impl Gauge {
    pub(crate) fn follow(&self) -> watch::Receiver<Open> {
        self.0.subscribe()
    }

    pub(crate) fn connection(&self) -> Counted {
        self.0.send_modify(|open| open.connections += 1);
        Counted { gauge: self.clone(), end: |open| open.connections -= 1 }
    }

    pub(crate) fn link(&self) -> Counted {
        self.0.send_modify(|open| open.links += 1);
        Counted { gauge: self.clone(), end: |open| open.links -= 1 }
    }
}

/// Counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    gauge: Gauge,
    end: fn(&mut Open),
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.0.send_modify(self.end);
    }
}
