//! Go templates over JSON: `--format '{{.id}}'`.
//!
//! [`parse`] reads the text, [`check`] compares its keys with the [`Vocabulary`] of what it will be applied to,
//! before anything is asked of the services, and [`evaluate`] applies it. Nothing else knows of templates.
//!
//! Written here, for no crate fits. The only one of that language, gtmpl, has had no release since 2021 and is
//! but passively maintained; it prints a list as `[String("a"), String("b")]`, ignores `%q`, knows neither
//! `break`, `slice`, `else with` nor assignments, tells what is wrong without the place, and answers keys that
//! do not exist with `<no value>` and success.

mod check;
mod evaluate;
mod functions;
mod lexer;
mod parse;
mod printf;
mod shape;
mod tree;
mod value;

use serde_json::Value as Json;

pub(crate) use evaluate::EvaluateError;
pub(crate) use shape::{ANY_KEY, Vocabulary};

use evaluate::Evaluation;
use tree::Node;
use value::Element;

/// What precedes a template whose results are rows.
const TABLE: &str = "table";

/// A template that was understood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Template {
    nodes: Vec<Node>,
    is_table: bool,
}

/// Why a text is no template for these objects.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemplateError {
    /// It cannot be read.
    #[error(transparent)]
    Parse(#[from] parse::ParseError),
    /// It asks for what is never there.
    #[error(transparent)]
    Check(#[from] check::CheckError),
}

impl Template {
    /// Reads a template for objects of which this can be asked.
    pub(crate) fn new(text: &str, vocabulary: &Vocabulary) -> Result<Self, TemplateError> {
        let after_word = text.strip_prefix(TABLE).filter(|rest| rest.starts_with([' ', '\t', '{']));
        let body = after_word.map_or(text, |rest| rest.trim_start_matches(' '));
        let nodes = parse::parse(body)?;
        check::check(&nodes, &vocabulary.whole())?;
        Ok(Self { nodes, is_table: after_word.is_some() })
    }

    /// Whether the results are rows of a table.
    pub(crate) fn is_table(&self) -> bool {
        self.is_table
    }

    /// Whether one of these keys is asked for.
    pub(crate) fn mentions(&self, keys: &[&str]) -> bool {
        tree::fields(&self.nodes).iter().any(|field| keys.contains(&field.as_str()))
    }

    /// The text for one object: `json` is what it is, `words` what Docker calls its parts.
    pub(crate) fn apply(
        &self,
        mut json: Json,
        mut words: Json,
        vocabulary: &Vocabulary,
    ) -> Result<String, EvaluateError> {
        vocabulary.complete(&mut json, &mut words);
        Evaluation::new(Element { json, words }).run(&self.nodes)
    }

    /// The titles of a table's columns, separated as its cells are.
    pub(crate) fn header(&self) -> String {
        tree::header(&self.nodes)
    }
}

#[cfg(test)]
mod tests;
