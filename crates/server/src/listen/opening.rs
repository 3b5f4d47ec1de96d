//! The first bytes of a connection: they must come in time.
//!
//! Until it knows which version of HTTP a client speaks, the HTTP library waits without an end: its own bound on headers
//! begins after that. Read next: `listen`.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// Bytes after which the version is known: the preface of HTTP/2 has as many (RFC 9113, section 3.4). A request of
/// HTTP/1 that has fewer is answered long before the time is over.
const PREFACE_BYTES: usize = 24;

/// A stream that tells when its first bytes have come.
pub(super) struct Opening<S> {
    stream: S,
    left: usize,
    opened: Option<oneshot::Sender<()>>,
}

/// Hears when a connection has sent its first bytes.
pub(super) struct Opened(oneshot::Receiver<()>);

impl<S> Opening<S> {
    pub(super) fn of(stream: S) -> (Opening<S>, Opened) {
        let (opened, hears) = oneshot::channel();
        (Opening { stream, left: PREFACE_BYTES, opened: Some(opened) }, Opened(hears))
    }
}

impl Opened {
    /// Ends when the first bytes have not come within this time; else never.
    pub(super) async fn too_late(self, within: Duration) {
        if tokio::time::timeout(within, self.0).await.is_ok() {
            std::future::pending::<()>().await;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Opening<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, into))?;
        self.left = self.left.saturating_sub(into.filled().len() - before);
        if self.left == 0
            && let Some(opened) = self.opened.take()
        {
            // Whoever waited may have gone with the connection.
            let _ = opened.send(());
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opening<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
