//! Words of a template.

use super::parse::ParseError;
use super::value::Value;

/// A part of a template's text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    /// Printed as it is.
    Text(String),
    /// Between braces.
    Action(Vec<Token>),
}

/// A word of an action.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    /// Nothing is between it and the word before.
    pub(super) is_joined: bool,
}

/// What a word is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    /// `.`
    Dot,
    /// `.name`
    Field(String),
    /// `$name`; the name may be empty.
    Variable(String),
    /// A keyword or a function.
    Word(String),
    /// A number, a text, a truth.
    Literal(Value),
    /// `|`
    Pipe,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `,`
    Comma,
    /// `:=`
    Declare,
    /// `=`
    Assign,
}

/// Takes a template apart. Spaces beside `{{-` and `-}}` go, as comments do.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, ParseError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trims_start = false;
    while let Some(start) = rest.find("{{") {
        let (before, action) = (&rest[..start], &rest[start + 2..]);
        let trims_end = action.starts_with('-') && action[1..].starts_with(char::is_whitespace);
        let inside = if trims_end { &action[1..] } else { action };
        push_text(&mut pieces, before, trims_start, trims_end);
        let (tokens, after) = match inside.trim_start().strip_prefix("/*") {
            Some(comment) => (None, after_comment(comment)?),
            None => {
                let (tokens, after) = tokens(inside)?;
                (Some(tokens), after)
            }
        };
        pieces.extend(tokens.map(Piece::Action));
        (rest, trims_start) = after;
    }
    push_text(&mut pieces, rest, trims_start, false);
    Ok(pieces)
}

fn push_text(pieces: &mut Vec<Piece>, text: &str, trims_start: bool, trims_end: bool) {
    let text = if trims_start { text.trim_start() } else { text };
    let text = if trims_end { text.trim_end() } else { text };
    if !text.is_empty() {
        // Shells do not turn these into what they stand for between single quotes; Docker does.
        pieces.push(Piece::Text(text.replace("\\t", "\t").replace("\\n", "\n")));
    }
}

/// What follows the braces, and whether its spaces go.
type Remainder<'a> = (&'a str, bool);

fn after_comment(comment: &str) -> Result<Remainder<'_>, ParseError> {
    let (_, after) = comment.split_once("*/").ok_or(ParseError::UnclosedComment)?;
    closing(after).ok_or(ParseError::UnclosedAction)
}

/// Steps over the end of an action, if it is here.
fn closing(text: &str) -> Option<Remainder<'_>> {
    let trimmed = text.trim_start();
    match trimmed.strip_prefix("}}") {
        Some(rest) => Some((rest, false)),
        None if trimmed.len() < text.len() => trimmed.strip_prefix("-}}").map(|rest| (rest, true)),
        None => None,
    }
}

fn tokens(text: &str) -> Result<(Vec<Token>, Remainder<'_>), ParseError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        if let Some(remainder) = closing(rest) {
            return Ok((tokens, remainder));
        }
        let trimmed = rest.trim_start();
        let is_joined = trimmed.len() == rest.len() && !tokens.is_empty();
        let (kind, after) = token(trimmed)?;
        tokens.push(Token { kind, is_joined });
        rest = after;
    }
}

fn token(text: &str) -> Result<(TokenKind, &str), ParseError> {
    let first = text.chars().next().ok_or(ParseError::UnclosedAction)?;
    let after = &text[first.len_utf8()..];
    let next = after.chars().next();
    match first {
        '|' => Ok((TokenKind::Pipe, after)),
        '(' => Ok((TokenKind::Open, after)),
        ')' => Ok((TokenKind::Close, after)),
        ',' => Ok((TokenKind::Comma, after)),
        '=' => Ok((TokenKind::Assign, after)),
        ':' if next == Some('=') => Ok((TokenKind::Declare, &after[1..])),
        '"' => quoted(text),
        '`' => match after.split_once('`') {
            Some((raw, after)) => Ok((TokenKind::Literal(Value::Text(raw.to_owned())), after)),
            None => Err(ParseError::UnclosedQuote),
        },
        '$' => {
            let (name, after) = word(after);
            Ok((TokenKind::Variable(name.to_owned()), after))
        }
        '.' if next.is_some_and(is_of_word) && !next.is_some_and(|next| next.is_ascii_digit()) => {
            let (name, after) = word(after);
            Ok((TokenKind::Field(name.to_owned()), after))
        }
        '0'..='9' => number(text),
        '-' | '+' | '.' if next.is_some_and(|next| next.is_ascii_digit()) => number(text),
        '.' => Ok((TokenKind::Dot, after)),
        _ if is_of_word(first) => {
            let (name, after) = word(text);
            let kind = match name {
                "true" => TokenKind::Literal(Value::from(true)),
                "false" => TokenKind::Literal(Value::from(false)),
                "nil" => TokenKind::Literal(Value::Data(serde_json::Value::Null)),
                _ => TokenKind::Word(name.to_owned()),
            };
            Ok((kind, after))
        }
        _ => Err(ParseError::UnexpectedCharacter(first)),
    }
}

fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn word(text: &str) -> (&str, &str) {
    text.split_at(text.find(|character| !is_of_word(character)).unwrap_or(text.len()))
}

fn number(text: &str) -> Result<(TokenKind, &str), ParseError> {
    let is_of_number = |character: char| is_of_word(character) || matches!(character, '.' | '-' | '+');
    let end = text.find(|character| !is_of_number(character)).unwrap_or(text.len());
    let (digits, after) = text.split_at(end);
    let plain = digits.strip_prefix('+').unwrap_or(digits);
    let value = match (plain.parse::<i64>(), plain.parse::<f64>()) {
        (Ok(integer), _) => Value::from(integer),
        (_, Ok(float)) if float.is_finite() => Value::from(float),
        _ => return Err(ParseError::InvalidNumber(digits.to_owned())),
    };
    Ok((TokenKind::Literal(value), after))
}

/// A text between double quotes, with the escapes of Go.
fn quoted(text: &str) -> Result<(TokenKind, &str), ParseError> {
    let mut string = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Ok((TokenKind::Literal(Value::Text(string)), &text[index + 1..])),
            '\n' => return Err(ParseError::UnclosedQuote),
            '\\' => match characters.next() {
                Some((_, 'n')) => string.push('\n'),
                Some((_, 't')) => string.push('\t'),
                Some((_, 'r')) => string.push('\r'),
                Some((_, same @ ('"' | '\\'))) => string.push(same),
                Some((_, kind @ ('x' | 'u'))) => {
                    let length = if kind == 'x' { 2 } else { 4 };
                    let digits: String = characters.by_ref().take(length).map(|(_, digit)| digit).collect();
                    let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == length);
                    string.push(code.and_then(char::from_u32).ok_or(ParseError::InvalidEscape(kind))?);
                }
                Some((_, other)) => return Err(ParseError::InvalidEscape(other)),
                None => return Err(ParseError::UnclosedQuote),
            },
            other => string.push(other),
        }
    }
    Err(ParseError::UnclosedQuote)
}
