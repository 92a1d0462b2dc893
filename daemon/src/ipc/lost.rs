//! Notices that the socket's file, its lock or a folder on their path was removed, moved or replaced, without polling.
//! Does not: judge what has become of them (`place` does).
//! Used by: `ipc`, while it waits for the next client.

#[cfg(target_os = "linux")]
mod watch {
    use std::{future::pending, io, path::Path};

    use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

    use crate::descriptor::Descriptor;

    #[derive(Debug)]
    pub(in crate::ipc) struct Watch(Option<Descriptor>);

    impl Watch {
        /// Watches from now on; if the system has no watch left, nothing is noticed. Must run inside a runtime.
        pub(in crate::ipc) fn begin(socket: &Path) -> Self {
            let watch = open(socket);
            if let Err(err) = &watch {
                tracing::warn!(why = %err, "it will not be noticed if somebody removes the socket");
            }
            Self(watch.ok())
        }

        pub(in crate::ipc) async fn changed(&mut self) {
            let Some(watch) = &mut self.0 else { return pending().await };
            // The events do not matter, since everything is looked at again.
            let mut room = [0; 4096];
            if watch.read(&mut room).await.is_err() {
                return pending().await;
            }
            watch.drain(&mut room);
        }
    }

    fn open(socket: &Path) -> io::Result<Descriptor> {
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let mut folders = socket.ancestors().skip(1);
        if let Some(folder) = folders.next() {
            let inside = WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::MOVED_TO;
            let itself = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
            inotify::add_watch(&watch, folder, inside | itself | WatchFlags::ONLYDIR)?;
        }
        for folder in folders {
            // A folder that cannot be read cannot be watched; most of them stay where they are.
            inotify::add_watch(&watch, folder, WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR).ok();
        }
        Descriptor::new(watch)
    }
}

#[cfg(not(target_os = "linux"))]
mod watch {
    use std::{future::pending, path::Path};

    /// Nothing is watched here.
    #[derive(Debug)]
    pub(in crate::ipc) struct Watch;

    impl Watch {
        pub(in crate::ipc) fn begin(_socket: &Path) -> Self {
            Self
        }

        pub(in crate::ipc) async fn changed(&mut self) {
            pending().await
        }
    }
}

pub(super) use watch::Watch;
