//! What the disk itself allows: a bare loop of small appends, each synced.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;

/// Appends, each synced; the milliseconds of each.
pub fn syncs(folder: &Path, count: usize) -> Result<Vec<f64>> {
    let mut file = File::create(folder.join("syncs"))?;
    let page = [7; 4096];
    let mut took = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        file.write_all(&page)?;
        file.sync_data()?;
        took.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(took)
}
