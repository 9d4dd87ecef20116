//! The steps inside the jail, so that a child that may not allocate can still say which one failed.

/// A step; its number and the errno are all that crosses the report pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Step {
    PlaceDescriptors,
    MapUser,
    PreferForOutOfMemoryKiller,
    SeparateMounts,
    MountRoot,
    PopulateRoot,
    BindFile,
    MountScratch,
    SealRoot,
    EnterRoot,
    DropCapabilities,
    ChangeUser,
    LimitResources,
    ResetSignals,
    SetPersonality,
    DieWithParent,
    Execute,
}

const STEPS: [(Step, &str); 17] = [
    (Step::PlaceDescriptors, "place the descriptors of the jail"),
    (Step::MapUser, "map the user into the user namespace of the jail"),
    (Step::PreferForOutOfMemoryKiller, "set oom_score_adj"),
    (Step::SeparateMounts, "separate the mounts of the jail"),
    (Step::MountRoot, "mount the root of the jail"),
    (Step::PopulateRoot, "populate the root of the jail"),
    (Step::BindFile, "bring the initramfs into the jail"),
    (Step::MountScratch, "mount the memory file system of the jail"),
    (Step::SealRoot, "make the root of the jail read-only"),
    (Step::EnterRoot, "enter the root of the jail"),
    (Step::DropCapabilities, "drop capabilities"),
    (Step::ChangeUser, "become the user of the jail"),
    (Step::LimitResources, "limit the resources of the jail"),
    (Step::ResetSignals, "reset signals"),
    (Step::SetPersonality, "turn off address randomization"),
    (Step::DieWithParent, "tie the machine monitor to the helper"),
    (Step::Execute, "execute the machine monitor"),
];

/// What a reported number stands for.
pub(super) fn describe(number: u8) -> &'static str {
    STEPS
        .iter()
        .find(|(step, _)| *step as u8 == number)
        .map_or("do an unknown step of the jail", |(_, description)| description)
}
