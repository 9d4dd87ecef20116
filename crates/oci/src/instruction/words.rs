//! Words of instructions: quotes, backslashes and variables.

/// Splits at blanks outside quotes, and takes quotes and backslashes away; `None` if a quote does not end.
pub(super) fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    for raw in raw_words(text)? {
        words.push(expand(&raw, &[]));
    }
    Some(words)
}

/// `NAME=VALUE …`, or `NAME the rest`, with variables replaced.
pub(super) fn pairs(text: &str, environment: &[String]) -> Option<Vec<(String, String)>> {
    let raw = raw_words(text)?;
    if !raw.first()?.contains('=') {
        let (name, rest) = text.split_once(char::is_whitespace)?;
        return Some(vec![(name.to_owned(), expand(rest.trim(), environment))]);
    }
    let pair = |word: &String| {
        let (name, value) = word.split_once('=')?;
        let name = expand(name, environment);
        (!name.is_empty()).then(|| (name, expand(value, environment)))
    };
    raw.iter().map(pair).collect()
}

/// With their quotes.
fn raw_words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            (blank, None) if blank.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            ('\\', None | Some('"')) => {
                word.push(letter);
                word.extend(letters.next());
                continue;
            }
            ('"' | '\'', None) => quote = Some(letter),
            (_, Some(begun)) if letter == begun => quote = None,
            _ => {}
        }
        word.push(letter);
    }
    if !word.is_empty() {
        words.push(word);
    }
    quote.is_none().then_some(words)
}

/// Takes quotes and backslashes away and replaces `$NAME`, `${NAME}`, `${NAME:-other}` and `${NAME:+other}`, but for
/// what is in single quotes.
pub(super) fn expand(text: &str, environment: &[String]) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut quote = None;
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        rest = &rest[letter.len_utf8()..];
        match (letter, quote) {
            ('\\', None | Some('"')) => {
                if let Some(next) = rest.chars().next() {
                    rest = &rest[next.len_utf8()..];
                    if quote.is_some() && !['"', '\\', '$'].contains(&next) {
                        expanded.push(letter);
                    }
                    expanded.push(next);
                }
            }
            ('"' | '\'', None) => quote = Some(letter),
            (_, Some(begun)) if letter == begun => quote = None,
            ('$', None | Some('"')) => {
                let (value, left) = variable(rest, environment);
                expanded.push_str(&value);
                rest = left;
            }
            _ => expanded.push(letter),
        }
    }
    expanded
}

/// The value of the variable that the text begins with, after its dollar, and what follows it.
fn variable<'a>(text: &'a str, environment: &[String]) -> (String, &'a str) {
    let value_of = |name: &str| {
        let known = environment.iter().filter_map(|variable| variable.split_once('='));
        known.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
    };
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    if let Some((inside, left)) = text.strip_prefix('{').and_then(|text| text.split_once('}')) {
        let (name, other) = match inside.find(|letter| !is_of_name(letter)) {
            Some(end) => inside.split_at(end),
            None => (inside, ""),
        };
        let value = value_of(name).filter(|value| !value.is_empty());
        let value = match (other.strip_prefix(":-"), other.strip_prefix(":+")) {
            (Some(other), _) => value.unwrap_or_else(|| other.to_owned()),
            (_, Some(other)) => value.map(|_| other.to_owned()).unwrap_or_default(),
            _ => value.unwrap_or_default(),
        };
        return (value, left);
    }
    let end = text.find(|letter| !is_of_name(letter)).unwrap_or(text.len());
    let (name, left) = text.split_at(end);
    if name.is_empty() { ("$".to_owned(), left) } else { (value_of(name).unwrap_or_default(), left) }
}
