//! What a mistyped word may have meant.

/// The nearest of the words, if it is near enough to be the same word with a mistake.
pub(crate) fn nearest(word: &str, words: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    // A word without limit would make the comparison quadratic in what a file holds.
    const LONGEST_CHARACTERS: usize = 64;
    if word.chars().count() > LONGEST_CHARACTERS {
        return None;
    }
    let lower = word.to_lowercase();
    words
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.chars().count() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let words = || ["cpus", "memory", "binaryPath"].into_iter();
        assert_eq!(nearest("cpu", words()), Some("cpus"));
        assert_eq!(nearest("CPUS", words()), Some("cpus"));
        assert_eq!(nearest("memroy", words()), Some("memory"));
        assert_eq!(nearest("binary_path", words()), Some("binaryPath"));
        assert_eq!(nearest("subnet", words()), None);
        assert_eq!(nearest(&"m".repeat(100_000), words()), None);
    }
}
