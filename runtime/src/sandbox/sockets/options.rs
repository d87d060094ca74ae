//! Socket options that streams without packets have no use for: checked, kept, given back.

use std::time::Duration;

/// Buffer sizes a guest sees until it sets its own.
const BUFFER: u64 = 64 * 1024;
/// The largest buffer size a guest sees.
const LARGEST_BUFFER: u64 = 1 << 20;

/// An option was set to what it cannot be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InvalidOption;

/// The options of one socket.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) backlog: u32,
    pub(super) keep_alive: bool,
    pub(super) keep_alive_idle: Duration,
    pub(super) keep_alive_interval: Duration,
    pub(super) keep_alive_count: u32,
    pub(super) hop_limit: u8,
    pub(super) receive_buffer: u64,
    pub(super) send_buffer: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            backlog: 128,
            keep_alive: false,
            keep_alive_idle: Duration::from_secs(7_200),
            keep_alive_interval: Duration::from_secs(75),
            keep_alive_count: 9,
            hop_limit: 64,
            receive_buffer: BUFFER,
            send_buffer: BUFFER,
        }
    }
}

impl Options {
    pub(super) fn set_backlog(&mut self, value: u64) -> Result<(), InvalidOption> {
        self.backlog = u32::try_from(positive(value)?).unwrap_or(u32::MAX);
        Ok(())
    }

    pub(super) fn set_keep_alive_idle(&mut self, nanos: u64) -> Result<(), InvalidOption> {
        self.keep_alive_idle = Duration::from_nanos(positive(nanos)?);
        Ok(())
    }

    pub(super) fn set_keep_alive_interval(&mut self, nanos: u64) -> Result<(), InvalidOption> {
        self.keep_alive_interval = Duration::from_nanos(positive(nanos)?);
        Ok(())
    }

    pub(super) fn set_keep_alive_count(&mut self, value: u32) -> Result<(), InvalidOption> {
        positive(value.into())?;
        self.keep_alive_count = value;
        Ok(())
    }

    pub(super) fn set_hop_limit(&mut self, value: u8) -> Result<(), InvalidOption> {
        positive(value.into())?;
        self.hop_limit = value;
        Ok(())
    }

    pub(super) fn set_receive_buffer(&mut self, value: u64) -> Result<(), InvalidOption> {
        self.receive_buffer = positive(value)?.min(LARGEST_BUFFER);
        Ok(())
    }

    pub(super) fn set_send_buffer(&mut self, value: u64) -> Result<(), InvalidOption> {
        self.send_buffer = positive(value)?.min(LARGEST_BUFFER);
        Ok(())
    }

    pub(super) fn keep_alive_idle_nanos(&self) -> u64 {
        nanos(self.keep_alive_idle)
    }

    pub(super) fn keep_alive_interval_nanos(&self) -> u64 {
        nanos(self.keep_alive_interval)
    }
}

fn positive(value: u64) -> Result<u64, InvalidOption> {
    if value == 0 { Err(InvalidOption) } else { Ok(value) }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
