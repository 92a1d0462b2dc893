//! A tunnel to a server that is not Rally: its bytes pass untouched and unread.
//! Does not: let anybody in (`admit` does), or end a tunnel to Rally (`server` does).
//! Used by: `server`.

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{counts::Tally, socket::Ending};

/// Passes bytes on until both sides are done. If one breaks, so does the other.
pub(crate) async fn join(
    near: Upgraded,
    far: impl AsyncRead + AsyncWrite + Unpin,
    ending: &Ending,
    tally: &Tally,
) {
    let (mut near, mut far) = (TokioIo::new(near), far);
    match tokio::io::copy_bidirectional(&mut near, &mut far).await {
        Ok((up, down)) => {
            let mut counts = tally.counts();
            counts.up += up;
            counts.down += down;
        }
        Err(_) => ending.breaks(),
    }
}
