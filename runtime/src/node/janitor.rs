//! Removing images and compiled code that no Pod uses, when the disk fills up.

use std::sync::Arc;
use std::time::Duration;

use crate::report::Machine;
use crate::supervisor::host::Host;
use crate::supervisor::{UsedImages, modules};

/// How long after a change of the images the disk is looked at.
const CALM: Duration = Duration::from_secs(60);

/// Looks at the disk a while after images changed, and removes what is too much. Nothing happens on an idle node.
pub async fn run(host: Arc<Host>, used: Arc<UsedImages>, machine: Machine, share: f64) {
    let mut changes = host.images.changes();
    loop {
        if changes.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(CALM).await;
        changes.mark_unchanged();
        let (host, used, machine) = (host.clone(), used.clone(), machine.clone());
        let work = move || collect(&host, &used, &machine, share);
        if let Err(error) = tokio::task::spawn_blocking(work).await {
            tracing::error!(%error, "the collection of images broke");
        }
    }
}

fn collect(host: &Host, used: &UsedImages, machine: &Machine, share: f64) {
    let (full, total) = machine.disk_use();
    if full <= share {
        return;
    }
    // Down to five hundredths below the share, so that it is not done again at once.
    let excess = ((full - share + 0.05) * total as f64) as u64;
    let names = used.names();
    let kept = host.images.size().unwrap_or(0);
    let freed = host.images.collect(&modules(host, &names), kept.saturating_sub(excess)).unwrap_or(0);
    let code = host.code.collect(host.code.size().saturating_sub(excess.saturating_sub(freed)));
    tracing::info!(images = freed, code, "removed what no Pod uses, since the disk is almost full");
}
