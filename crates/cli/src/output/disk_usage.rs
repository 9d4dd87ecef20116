//! Disk space.

use bulkhead_api::system::{DiskUsage, DiskUsageEntry};

use super::{images, render};

/// `TYPE TOTAL ACTIVE SIZE RECLAIMABLE`
pub(crate) fn table(usage: &DiskUsage) -> String {
    let rows = [
        row("Images", &usage.images),
        row("Containers", &usage.containers),
        row("Local Volumes", &usage.volumes),
    ];
    render::table(&["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"], &rows)
}

fn row(name: &str, entry: &DiskUsageEntry) -> Vec<String> {
    // Bytes of any disk fit into 128 bits a hundred times.
    let percent =
        u128::from(entry.reclaimable) * 100 / u128::from(entry.size_in_bytes.max(entry.reclaimable).max(1));
    vec![
        name.to_owned(),
        entry.total.to_string(),
        entry.active.to_string(),
        images::size(entry.size_in_bytes),
        format!("{} ({percent}%)", images::size(entry.reclaimable)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_whole() {
        let entry = DiskUsageEntry { total: 3, active: 1, size_in_bytes: 4_000_000, reclaimable: 1_000_000 };
        assert_eq!(row("Images", &entry), ["Images", "3", "1", "4.0 MB", "1.0 MB (25%)"]);
        assert_eq!(row("Volumes", &DiskUsageEntry::default())[4], "0 bytes (0%)");
    }
}
