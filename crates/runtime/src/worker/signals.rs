#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end a worker: Ctrl-C and, on Unix, SIGTERM. There none is missed from when this is made on, so that a
/// second one is heard however soon it comes; elsewhere one may be missed that comes while nobody waits for it.
#[derive(Debug)]
pub(super) struct Signals {
    #[cfg(unix)]
    streams: Vec<Signal>,
    #[cfg(not(unix))]
    wanted: bool,
}

#[cfg(unix)]
impl Signals {
    /// Listens, if that is `wanted`. What cannot be listened for is logged.
    pub(super) fn listen(wanted: bool) -> Self {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
        let listen = |kind| {
            let listening = signal(kind);
            listening.inspect_err(|error| tracing::error!(%error, ?kind, "cannot listen for a signal")).ok()
        };
        Self { streams: kinds.into_iter().filter(|_| wanted).filter_map(listen).collect() }
    }

    /// The next of them. Cancel-safe. Waits for ever if there is none to listen for.
    pub(super) async fn next(&mut self) {
        std::future::poll_fn(|task| {
            let heard = self.streams.iter_mut().any(|stream| stream.poll_recv(task).is_ready());
            if heard { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}

#[cfg(not(unix))]
impl Signals {
    pub(super) fn listen(wanted: bool) -> Self {
        Self { wanted }
    }

    pub(super) async fn next(&mut self) {
        if !self.wanted {
            return std::future::pending().await;
        }
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::error!(%error, "cannot listen for Ctrl-C");
            std::future::pending::<()>().await;
        }
    }
}
