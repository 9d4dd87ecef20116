//! `printf` of Go, for the values of a template.

use serde_json::Value as Json;

use super::evaluate::EvaluateError;
use super::value::Value;
use crate::output::json;

/// More is a mistake.
const MAXIMUM_WIDTH: usize = 1000;

/// How one value is written: `%-10s`.
#[derive(Debug, Default)]
struct Directive {
    is_left: bool,
    is_zero_padded: bool,
    has_sign: bool,
    width: usize,
    precision: Option<usize>,
}

/// Writes the values where the text says so.
pub(super) fn format(pattern: &str, values: &[Value]) -> Result<String, EvaluateError> {
    let mut text = String::new();
    let mut values = values.iter();
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        let mut directive = Directive::default();
        while let Some(flag) = characters.next_if(|next| matches!(next, '-' | '0' | '+' | ' ' | '#')) {
            directive.is_left |= flag == '-';
            directive.is_zero_padded |= flag == '0';
            directive.has_sign |= flag == '+';
        }
        directive.width = digits(&mut characters).unwrap_or(0);
        if characters.next_if_eq(&'.').is_some() {
            directive.precision = Some(digits(&mut characters).unwrap_or(0));
        }
        match characters.next() {
            Some('%') => text.push('%'),
            Some(verb) => {
                let value = values.next().ok_or(EvaluateError::TooFewValues)?;
                text.push_str(&directive.write(verb, value)?);
            }
            None => return Err(EvaluateError::Directive { verb: '%', kind: "nothing" }),
        }
    }
    if values.next().is_some() { Err(EvaluateError::TooManyValues) } else { Ok(text) }
}

fn digits(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<usize> {
    let mut number = None;
    while let Some(digit) = characters.peek().and_then(|next| next.to_digit(10)) {
        characters.next();
        // A digit fits into any integer.
        number = Some((number.unwrap_or(0) * 10 + digit as usize).min(MAXIMUM_WIDTH));
    }
    number
}

impl Directive {
    fn write(&self, verb: char, value: &Value) -> Result<String, EvaluateError> {
        let value = &match verb {
            'd' | 'x' | 'X' | 'f' => value.or_zero_like(&0.into()),
            't' => value.or_zero_like(&false.into()),
            _ => value.clone(),
        };
        let unfit = || EvaluateError::Directive { verb, kind: value.kind() };
        let number = match value {
            Value::Data(Json::Number(number)) => Some(number),
            _ => None,
        };
        let written = match verb {
            'v' => value.print(),
            's' => self.shortened(value.print()),
            'q' => json::line(&Json::String(self.shortened(value.print()))),
            't' => match value {
                Value::Data(Json::Bool(flag)) => flag.to_string(),
                _ => return Err(unfit()),
            },
            'd' => number.filter(|number| !number.is_f64()).ok_or_else(unfit)?.to_string(),
            'x' | 'X' => {
                let digits = format!("{:x}", number.and_then(serde_json::Number::as_u64).ok_or_else(unfit)?);
                if verb == 'X' { digits.to_uppercase() } else { digits }
            }
            'f' => {
                let number = number.and_then(serde_json::Number::as_f64).ok_or_else(unfit)?;
                format!("{number:.*}", self.precision.unwrap_or(6))
            }
            _ => return Err(unfit()),
        };
        Ok(self.padded(written, number.is_some()))
    }

    fn shortened(&self, text: String) -> String {
        match self.precision {
            Some(length) => text.chars().take(length).collect(),
            None => text,
        }
    }

    fn padded(&self, text: String, is_number: bool) -> String {
        let text =
            if is_number && self.has_sign && !text.starts_with('-') { format!("+{text}") } else { text };
        let missing = self.width.saturating_sub(text.chars().count());
        match (self.is_left, self.is_zero_padded && is_number) {
            (true, _) => text + &" ".repeat(missing),
            (false, true) => {
                let (sign, digits) =
                    text.split_at(text.find(|digit| !matches!(digit, '+' | '-')).unwrap_or(0));
                format!("{sign}{}{digits}", "0".repeat(missing))
            }
            (false, false) => " ".repeat(missing) + &text,
        }
    }
}
