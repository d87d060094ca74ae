//! What is where on the disk: the tables of the present format.

use redb::{ReadableTable, TableDefinition};

use crate::store::record::Revision;

/// The format this version writes, and the newest it reads.
pub(crate) const FORMAT: u64 = 5;

/// Key → revision, bytes.
pub(crate) const OBJECTS: TableDefinition<'static, &str, (u64, &[u8])> = TableDefinition::new("objects");

/// The last revision of a row → the row, of [`crate::store::redb::history`].
pub(crate) const LOG: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("history");

/// Name → number.
pub(crate) const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");

/// The name of the format's number in `META`, in every format.
pub(crate) const FORMAT_KEY: &str = "format";

/// The numbers a store keeps about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    /// The newest revision in the tables.
    pub head: Revision,
    /// The log after this revision is complete.
    pub floor: Revision,
    /// No revision above this one has been handed out. The head's equal after a clean stop.
    pub ceiling: Revision,
    /// The log of volatile keys after this revision is complete.
    pub volatile_floor: Revision,
    /// Volatile objects older than this count as changed at it.
    pub restamp: Revision,
    /// The bytes of the rows of the log.
    pub log_bytes: u64,
    /// The length of the file after it was last compacted.
    pub compacted: u64,
    /// The bytes of objects and log then.
    pub compacted_live: u64,
}

impl Meta {
    fn names(&self) -> [(&'static str, u64); 8] {
        [
            ("head", self.head.0),
            ("floor", self.floor.0),
            ("ceiling", self.ceiling.0),
            ("volatile-floor", self.volatile_floor.0),
            ("restamp", self.restamp.0),
            ("log-bytes", self.log_bytes),
            ("compacted", self.compacted),
            ("compacted-live", self.compacted_live),
        ]
    }

    /// Reads the numbers; those missing are zero.
    pub(crate) fn read(table: &impl ReadableTable<&'static str, u64>) -> Result<Meta, redb::StorageError> {
        let number = |name| Ok::<u64, redb::StorageError>(table.get(name)?.map_or(0, |n| n.value()));
        Ok(Meta {
            head: Revision(number("head")?),
            floor: Revision(number("floor")?),
            ceiling: Revision(number("ceiling")?),
            volatile_floor: Revision(number("volatile-floor")?),
            restamp: Revision(number("restamp")?),
            log_bytes: number("log-bytes")?,
            compacted: number("compacted")?,
            compacted_live: number("compacted-live")?,
        })
    }

    /// Writes the numbers that differ from those there.
    pub(crate) fn write(
        &self,
        table: &mut redb::Table<'_, &'static str, u64>,
    ) -> Result<(), redb::StorageError> {
        for (name, number) in self.names() {
            if table.get(name)?.map(|n| n.value()) != Some(number) {
                table.insert(name, number)?;
            }
        }
        Ok(())
    }
}
