//! What a machine gets.

use std::num::NonZeroU32;

use clap::Args;

use crate::values::memory_size::MemorySize;
use crate::values::{InvalidValue, invalid};

/// Flags of the machine.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "RESOURCE OPTIONS")]
pub(crate) struct ResourceFlags {
    /// Number of CPUs [default: 4]
    #[arg(short, long, value_name = "NUMBER", value_parser = parse_cpus)]
    cpus: Option<NonZeroU32>,

    /// Memory, with suffix K, M, G, T or P [default: 1g]
    #[arg(short, long, value_name = "SIZE")]
    memory: Option<MemorySize>,
}

fn parse_cpus(text: &str) -> Result<NonZeroU32, InvalidValue> {
    text.parse().or_else(|_| invalid("a machine has a whole number of CPUs, at least 1"))
}

impl ResourceFlags {
    pub(crate) fn cpus(&self) -> Option<u32> {
        self.cpus.map(NonZeroU32::get)
    }

    pub(crate) fn memory_bytes(&self) -> Option<u64> {
        self.memory.map(MemorySize::whole_mebibytes)
    }
}
