//! `WWW-Authenticate` headers (RFC 9110, 11.6.1; Docker's token authentication specification).

use std::collections::HashMap;

/// How a registry wants to be convinced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A token of the service at this URL.
    Bearer { realm: String, service: Option<String> },
    /// User name and password in each request.
    Basic,
}

/// The first usable challenge of a response; tokens are preferred, as the password then travels less.
pub(crate) fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = None;
    for header in headers {
        for (scheme, mut parameters) in parse(header) {
            match scheme.as_str() {
                "bearer" => {
                    if let Some(realm) = parameters.remove("realm") {
                        return Some(Challenge::Bearer { realm, service: parameters.remove("service") });
                    }
                }
                "basic" => basic = Some(Challenge::Basic),
                _ => {}
            }
        }
    }
    basic
}

/// Splits `Scheme key="value", key=value, Scheme …`; what cannot be understood ends it.
fn parse(header: &str) -> Vec<(String, HashMap<String, String>)> {
    let mut challenges: Vec<(String, HashMap<String, String>)> = Vec::new();
    let mut rest = header.trim_start_matches([' ', ',', '\t']);
    while !rest.is_empty() {
        let word_length = rest.find([' ', '=', ',', '\t']).unwrap_or(rest.len());
        let word = rest[..word_length].to_ascii_lowercase();
        let after = rest[word_length..].trim_start_matches([' ', '\t']);
        if let Some(value) = after.strip_prefix('=') {
            let Some((value, remaining)) = parse_value(value.trim_start_matches([' ', '\t'])) else { break };
            let Some((_, parameters)) = challenges.last_mut() else { break };
            parameters.insert(word, value);
            rest = remaining;
        } else if word.is_empty() {
            break;
        } else {
            challenges.push((word, HashMap::new()));
            rest = after;
        }
        rest = rest.trim_start_matches([' ', ',', '\t']);
    }
    challenges
}

fn parse_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[index + 1..])),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn finds_the_best_challenge() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) })
        };
        let cases = [
            (
                r#"Bearer realm="https://a/token",service="s, t",scope="x""#,
                bearer("https://a/token", Some("s, t")),
            ),
            (r#"bearer  realm = https://a , service=b"#, bearer("https://a", Some("b"))),
            (r#"Basic realm="x", Bearer realm="https://a""#, bearer("https://a", None)),
            (r#"Basic realm="x\"y""#, Some(Challenge::Basic)),
            ("Basic", Some(Challenge::Basic)),
            (r#"Bearer service="x""#, None),
            (r#"Bearer realm="unterminated"#, None),
            ("Negotiate abc==", None),
            ("realm=x", None),
            ("", None),
        ];
        for (header, expected) in cases {
            assert_eq!(choose([header].into_iter()), expected, "{header}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(header in "(Basic|Bearer|[a-z]{0,3}|[ ,=\"\\\\é]){0,20}") {
            choose([header.as_str()].into_iter());
        }
    }
}
