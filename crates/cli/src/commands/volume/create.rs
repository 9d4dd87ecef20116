//! `volume create`

use std::collections::BTreeMap;

use bulkhead_api::volume::CreateVolumeRequest;
use clap::Args;

use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::escape;
use crate::services::Services;
use crate::values::key_value::{Label, VolumeOption};
use crate::values::memory_size::MemorySize;
use crate::values::volume::VolumeName;

/// Arguments of `volume create`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CreateArguments {
    /// Taken where it says what is so anyway
    #[arg(short, long, value_name = "NAME", hide = true, value_parser = ["local"], default_value = "local")]
    driver: String,

    /// Label the volume
    #[arg(long, value_name = "KEY[=VALUE]")]
    label: Vec<Label>,

    /// Set an option: type=disk|shared (a disk of one running container at a time, or a directory that many
    /// share), size=SIZE of a disk, journal=ordered|writeback|journal[:SIZE] of a disk
    #[arg(long, short_alias = 'o', value_name = "KEY=VALUE")]
    opt: Vec<VolumeOption>,

    /// Size of its disk, which occupies only what is written [default: 512G]
    #[arg(short, value_name = "SIZE")]
    size: Option<MemorySize>,

    /// Name of the volume
    #[arg(value_name = "NAME")]
    name: VolumeName,
}

pub(super) fn run(arguments: &CreateArguments) -> Result<ExitStatus, Failure> {
    let mut options: BTreeMap<String, String> =
        arguments.opt.iter().map(|option| (option.key.clone(), option.value.clone())).collect();
    if let Some(size) = arguments.size {
        options.insert("size".to_owned(), size.bytes().to_string());
    }
    let labels = arguments.label.iter().map(|label| (label.key.clone(), label.value.clone())).collect();
    let request = CreateVolumeRequest { name: arguments.name.as_str().to_owned(), labels, options };
    let services = Services::from_environment()?;
    let volume = block_on(services.call(async |client| client.create_volume(&request).await))?;
    output::print(&escape::text(&volume.id))?;
    Ok(ExitStatus::Success)
}
