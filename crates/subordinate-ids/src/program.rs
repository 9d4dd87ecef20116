//! The programs that map ids, which need root's rights for it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, getxattr, statvfs};
use rustix::thread::{CapabilitySet, capability_is_in_bounding_set, no_new_privs};

use crate::missing::Missing;

/// Where programs are that PATH does not lead to.
const FOLDERS: [&str; 5] = ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin"];
/// capabilities(7): what a program has in place of set-user-ID root on some distributions.
const FILE_CAPABILITIES: &str = "security.capability";
const SET_USER_ID: u32 = 0o4000;
/// The most that such an attribute takes, linux/capability.h.
const MAXIMUM_CAPABILITIES_BYTES: usize = 64;

/// Every program of this name, in the order of PATH.
fn all(name: &str) -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).chain(FOLDERS.map(PathBuf::from)).collect();
    let name = name.to_owned();
    let candidates = folders.into_iter().map(move |folder| folder.join(&name));
    candidates.filter(|program| program.is_absolute() && program.is_file())
}

/// The first program of this name.
pub(crate) fn path(name: &str) -> Option<PathBuf> {
    all(name).next()
}

/// The first program of this name that gets the right to map ids; others may stand before it.
pub(crate) fn find(name: &'static str) -> Result<PathBuf, Missing> {
    let first = path(name).ok_or(Missing::Program { name })?;
    let program = all(name).find(|program| gives_rights(program));
    let program = program.ok_or(Missing::SetUserId { program: first })?;
    // What they are denied to this process is denied to what it executes.
    let may_gain = !no_new_privs().unwrap_or(false)
        && [CapabilitySet::SETUID, CapabilitySet::SETGID]
            .into_iter()
            .all(|right| capability_is_in_bounding_set(right).unwrap_or(true));
    if may_gain { Ok(program) } else { Err(Missing::Rights { program }) }
}

fn gives_rights(program: &Path) -> bool {
    let is_set = fs::metadata(program).is_ok_and(|status| status.permissions().mode() & SET_USER_ID != 0);
    let mut value = [0_u8; MAXIMUM_CAPABILITIES_BYTES];
    let may = is_set || getxattr(program, FILE_CAPABILITIES, &mut value[..]).is_ok();
    may && statvfs(program).is_ok_and(|system| !system.f_flag.contains(StatVfsMountFlags::NOSUID))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_program_gives_no_rights() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("newuidmap");
        fs::write(&program, "").unwrap();
        assert!(!gives_rights(&program));
        fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
        let is_honoured = !statvfs(&program).unwrap().f_flag.contains(StatVfsMountFlags::NOSUID);
        assert_eq!(gives_rights(&program), is_honoured);
        assert!(matches!(find("no-such-program"), Err(Missing::Program { .. })));
    }
}
