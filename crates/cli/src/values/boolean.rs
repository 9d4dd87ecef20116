//! Truth values, as Docker's flags and filters have them.

pub(crate) fn parse(text: &str) -> Option<bool> {
    match text {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}
