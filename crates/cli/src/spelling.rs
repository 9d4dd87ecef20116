//! What a mistyped word may have meant.

/// The name that is spelled most alike, if any is.
pub(crate) fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = wanted.chars().count().div_ceil(3).max(1);
    let distance = |name: &str| strsim::levenshtein(&wanted.to_lowercase(), &name.to_lowercase());
    let with_distances = names.map(|name| (distance(name), name));
    with_distances.filter(|(distance, _)| *distance <= limit).min().map(|(_, name)| name)
}
