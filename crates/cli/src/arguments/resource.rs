//! What a machine gets.

use clap::Args;

use crate::values::memory_size::MemorySize;
use crate::values::processors::Processors;
use crate::values::{InvalidValue, invalid};

/// That of Linux's scheduler.
const PERIOD_US: u64 = 100_000;

/// Flags of the machine.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "RESOURCE OPTIONS")]
pub(crate) struct ResourceFlags {
    /// Number of CPUs, or the share of one that the container may use, as 0.5 [default: 4]
    #[arg(short, long, value_name = "NUMBER", conflicts_with = "cpu_quota")]
    cpus: Option<Processors>,

    /// In microseconds, the time of which --cpu-quota is a part
    #[arg(long, value_name = "MICROSECONDS", hide = true, value_parser = period)]
    cpu_period: Option<u64>,

    /// In microseconds, of each --cpu-period
    #[arg(long, value_name = "MICROSECONDS", hide = true, value_parser = quota, allow_hyphen_values = true)]
    cpu_quota: Option<u64>,

    /// Memory, with suffix K, M, G, T or P [default: 1g]
    #[arg(short, long, value_name = "SIZE")]
    memory: Option<MemorySize>,

    /// Taken where it says that there is no swap
    #[arg(long, value_name = "SIZE", hide = true, allow_hyphen_values = true)]
    memory_swap: Option<String>,
}

/// 0 is the default, as in Docker.
fn period(text: &str) -> Result<u64, InvalidValue> {
    match text.parse() {
        Ok(period @ (0 | 1000..=1_000_000)) => Ok(period),
        _ => invalid("expected a period from 1000 to 1000000 microseconds"),
    }
}

/// 0 and less are no bound, as in Docker.
fn quota(text: &str) -> Result<u64, InvalidValue> {
    match text.parse::<i64>() {
        Ok(quota) if quota <= 0 => Ok(0),
        Ok(quota @ 1000..) => Ok(quota.unsigned_abs()),
        _ => invalid("expected at least 1000 microseconds, or 0 for no bound"),
    }
}

impl ResourceFlags {
    fn processors(&self) -> Option<Processors> {
        let period = self.cpu_period.filter(|period| *period > 0).unwrap_or(PERIOD_US);
        let quota = self.cpu_quota.filter(|quota| *quota > 0);
        self.cpus.or_else(|| quota.map(|quota| Processors::of_quota(quota, period)))
    }

    pub(crate) fn cpus(&self) -> Option<u32> {
        self.processors().map(Processors::whole)
    }

    pub(crate) fn cpu_percent(&self) -> Option<u64> {
        self.processors().and_then(Processors::percent)
    }

    pub(crate) fn memory_bytes(&self) -> Option<u64> {
        self.memory.map(MemorySize::whole_mebibytes)
    }

    /// Docker counts memory and swap together: as much as the memory is none.
    pub(crate) fn check_swap(&self) -> Result<(), InvalidValue> {
        match self.memory_swap.as_deref() {
            None | Some("0" | "") => Ok(()),
            Some(both) if self.memory.is_some() && both.parse().ok() == self.memory => Ok(()),
            Some(both) => invalid(format!(
                "'--memory-swap {both}' is not available: a machine has no swap: give it what it needs with --memory"
            )),
        }
    }
}
