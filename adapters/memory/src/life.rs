use tokio::sync::watch;

/// The life of a process that a test can end: everything it asks of the backend then hangs, as if it had been killed.
///
/// Nothing is released and nobody is told: others notice when its leases run out.
#[derive(Clone, Debug)]
pub struct Life(watch::Sender<bool>);

impl Default for Life {
    fn default() -> Self {
        Self(watch::Sender::new(true))
    }
}

impl Life {
    /// Kills the process.
    pub fn end(&self) {
        self.0.send_replace(false);
    }

    /// Whether it was killed.
    pub fn is_over(&self) -> bool {
        !*self.0.borrow()
    }

    /// Returns at once, or never, if it was killed: what a call of the process begins with.
    pub async fn breathe(&self) {
        if self.is_over() {
            std::future::pending::<()>().await;
        }
    }

    /// Resolves once it was killed.
    pub(crate) async fn over(&self) {
        let mut life = self.0.subscribe();
        let _ = life.wait_for(|alive| !alive).await.map(drop);
    }
}
