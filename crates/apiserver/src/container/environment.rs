//! Environment of a container's processes.

use bulkhead_api::error::ApiError;

use crate::error::invalid;

/// What programs are found by when the image says nothing (moby, oci/defaults).
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Docker's order: PATH, HOSTNAME and TERM, then the image's, then the request's. The last of a name
/// wins and keeps the place of the first; a name without value in the request removes it.
pub(crate) fn merge(
    hostname: &str,
    terminal: bool,
    image: &[String],
    request: &[String],
) -> Result<Vec<String>, ApiError> {
    let mut merged = vec![DEFAULT_PATH.to_owned(), format!("HOSTNAME={hostname}")];
    if terminal {
        merged.push("TERM=xterm".to_owned());
    }
    for variable in image.iter().filter(|variable| name(variable).is_some()) {
        put(&mut merged, variable);
    }
    apply(&mut merged, request)?;
    Ok(merged)
}

/// Adds the variables of a request to those that are there.
pub(crate) fn apply(merged: &mut Vec<String>, request: &[String]) -> Result<(), ApiError> {
    for variable in request {
        if variable.contains('\0') || variable.is_empty() || variable.starts_with('=') {
            let shown: String = variable.chars().take(40).flat_map(char::escape_default).collect();
            return Err(invalid(format!("'{shown}' is not an environment variable")));
        }
        if variable.contains('=') {
            put(merged, variable);
        } else {
            merged.retain(|known| name(known) != Some(variable));
        }
    }
    Ok(())
}

fn name(variable: &str) -> Option<&str> {
    variable.split_once('=').map(|(name, _)| name).filter(|name| !name.is_empty())
}

fn put(merged: &mut Vec<String>, variable: &str) {
    match merged.iter_mut().find(|known| name(known) == name(variable)) {
        Some(known) => variable.clone_into(known),
        None => merged.push(variable.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn later_ones_win_in_the_place_of_the_earlier() {
        let image = strings(&["PATH=/image", "A=1", "B=2", "odd", "=x"]);
        let merged = merge("web", true, &image, &strings(&["B=3", "C=a=b", "A"])).unwrap();
        assert_eq!(merged, ["PATH=/image", "HOSTNAME=web", "TERM=xterm", "B=3", "C=a=b"]);
        assert!(merge("web", false, &[], &[]).unwrap()[0].starts_with("PATH=/usr/local/sbin:"));
    }

    #[test]
    fn f48_variables_that_no_process_can_have_are_refused() {
        for variable in ["", "=x", "A=\0"] {
            assert!(merge("web", false, &[], &strings(&[variable])).is_err());
        }
    }
}
