//! Keys of a template that nothing of its kind has, found before anything is asked for.

use std::collections::BTreeMap;

use super::shape::Shape;
use super::tree::{Block, BlockKind, Command, Node, Operand, Pipeline};
use super::value::Value;

/// How many keys a message names.
const SHOWN_KEYS: usize = 12;

/// Why a template fits no object of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CheckError {
    /// No such key.
    #[error("there is no key '{key}'{}; {hint}", place(.path))]
    UnknownKey {
        /// As written.
        key: String,
        /// Where it was looked for.
        path: Vec<String>,
        /// What there is.
        hint: String,
    },
    /// A key of a text or a number.
    #[error("there is no key '{key}'{}, which has no keys", place(.path))]
    KeyOfLeaf {
        /// As written.
        key: String,
        /// Where it was looked for.
        path: Vec<String>,
    },
    /// A key of a list.
    #[error("there is no key '{key}'{}, which is a list: use {{{{range}}}} or index", place(.path))]
    KeyOfList {
        /// As written.
        key: String,
        /// Where it was looked for.
        path: Vec<String>,
    },
    /// `{{range .id}}`
    #[error("{{{{range}}}} wants a list or an object")]
    NotIterable,
    /// `.id "x"`
    #[error("'{0}' takes no arguments")]
    NoMethod(String),
}

fn place(path: &[String]) -> String {
    if path.is_empty() { String::new() } else { format!(" in .{}", path.join(".")) }
}

/// Compares the keys of a template with what there can be.
pub(super) fn check(nodes: &[Node], shape: &Shape) -> Result<(), CheckError> {
    let root = Known { shape: shape.clone(), path: Vec::new() };
    Checker { variables: vec![(String::new(), root.clone())], whole: shape }.nodes(nodes, &root)
}

/// What is known of a value: its shape, and the keys that lead to it.
#[derive(Clone, Debug)]
struct Known {
    shape: Shape,
    path: Vec<String>,
}

impl Known {
    fn of(shape: Shape) -> Self {
        Self { shape, path: Vec::new() }
    }
}

struct Checker<'a> {
    variables: Vec<(String, Known)>,
    whole: &'a Shape,
}

impl Checker<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Known) -> Result<(), CheckError> {
        for node in nodes {
            match node {
                Node::Output(pipeline) => {
                    let known = self.pipeline(pipeline, dot)?;
                    self.bind(pipeline, &[known]);
                }
                Node::Block(block) => {
                    let scope = self.variables.len();
                    self.block(block, dot)?;
                    self.variables.truncate(scope);
                }
                Node::Text(_) | Node::Break | Node::Continue => {}
            }
        }
        Ok(())
    }

    fn block(&mut self, block: &Block, dot: &Known) -> Result<(), CheckError> {
        let known = self.pipeline(&block.condition, dot)?;
        let scope = self.variables.len();
        let inner = match block.kind {
            BlockKind::If => dot.clone(),
            BlockKind::With => known.clone(),
            BlockKind::Range => {
                let item = match &known.shape {
                    Shape::List(item) | Shape::AnyKey(item) => (**item).clone(),
                    Shape::Keys(_) | Shape::Unknown => Shape::Unknown,
                    Shape::Leaf => return Err(CheckError::NotIterable),
                };
                Known { shape: item, path: known.path.clone() }
            }
        };
        match (block.kind, block.condition.variables.len()) {
            (BlockKind::Range, 2) => self.bind(&block.condition, &[Known::of(Shape::Leaf), inner.clone()]),
            (BlockKind::Range, _) => self.bind(&block.condition, std::slice::from_ref(&inner)),
            _ => self.bind(&block.condition, &[known]),
        }
        self.nodes(&block.body, &inner)?;
        if block.kind == BlockKind::Range {
            self.variables.truncate(scope);
        }
        self.nodes(&block.otherwise, dot)
    }

    fn bind(&mut self, pipeline: &Pipeline, values: &[Known]) {
        for (name, known) in pipeline.variables.iter().zip(values) {
            match self.variables.iter_mut().rev().find(|(variable, _)| variable == name) {
                // Which of the two it has at a place depends on the objects.
                Some((_, variable)) if pipeline.is_assignment => *variable = Known::of(Shape::Unknown),
                _ => self.variables.push((name.clone(), known.clone())),
            }
        }
    }

    fn pipeline(&self, pipeline: &Pipeline, dot: &Known) -> Result<Known, CheckError> {
        let mut result = Known::of(Shape::Unknown);
        for command in &pipeline.commands {
            result = match command {
                Command::Value(operand) => self.operand(operand, dot)?,
                Command::Call(function, arguments) => {
                    let known = self.operands(arguments, dot)?;
                    match (function.name, known.split_first()) {
                        ("index", Some((first, _))) if pipeline.commands.len() == 1 => arguments[1..]
                            .iter()
                            .try_fold(first.clone(), |known, key| self.indexed(known, key))?,
                        _ if function.may_return_anything() => Known::of(Shape::Unknown),
                        _ => Known::of(Shape::Leaf),
                    }
                }
                Command::Method(operand, arguments) => {
                    self.operands(arguments, dot)?;
                    let known = self.operand(operand, dot)?;
                    match (&known.shape, known.path.last().map(String::as_str)) {
                        (_, Some("Label")) => Known::of(Shape::Leaf),
                        (Shape::Unknown, _) => Known::of(Shape::Unknown),
                        (_, name) => return Err(CheckError::NoMethod(name.unwrap_or(".").to_owned())),
                    }
                }
            };
        }
        Ok(result)
    }

    fn operands(&self, operands: &[Operand], dot: &Known) -> Result<Vec<Known>, CheckError> {
        operands.iter().map(|operand| self.operand(operand, dot)).collect()
    }

    fn operand(&self, operand: &Operand, dot: &Known) -> Result<Known, CheckError> {
        match operand {
            Operand::Dot => Ok(dot.clone()),
            Operand::Variable(name) => {
                let variable = self.variables.iter().rev().find(|(variable, _)| variable == name);
                Ok(variable.map_or(Known::of(Shape::Unknown), |(_, known)| known.clone()))
            }
            Operand::Literal(_) => Ok(Known::of(Shape::Leaf)),
            Operand::Pipeline(pipeline) => self.pipeline(pipeline, dot),
            Operand::Fields(base, names) => {
                names.iter().try_fold(self.operand(base, dot)?, |known, name| self.field(known, name))
            }
        }
    }

    fn indexed(&self, known: Known, key: &Operand) -> Result<Known, CheckError> {
        match (&known.shape, key) {
            (Shape::List(item), _) => Ok(Known { shape: (**item).clone(), path: known.path }),
            (Shape::Keys(_) | Shape::AnyKey(_), Operand::Literal(Value::Text(name))) => {
                self.field(known, name)
            }
            _ => Ok(Known::of(Shape::Unknown)),
        }
    }

    fn field(&self, known: Known, name: &str) -> Result<Known, CheckError> {
        let Known { shape, mut path } = known;
        let key = name.to_owned();
        let shape = match shape {
            Shape::Unknown => Shape::Unknown,
            Shape::AnyKey(value) => *value,
            Shape::Keys(mut keys) => match keys.remove(name) {
                Some(shape) => shape,
                None => {
                    let hint = self.hint(name, &keys);
                    return Err(CheckError::UnknownKey { key, path, hint });
                }
            },
            Shape::List(_) => return Err(CheckError::KeyOfList { key, path }),
            Shape::Leaf => return Err(CheckError::KeyOfLeaf { key, path }),
        };
        path.push(key);
        Ok(Known { shape, path })
    }

    fn hint(&self, name: &str, keys: &BTreeMap<String, Shape>) -> String {
        let is_same = |key: &&String| key.eq_ignore_ascii_case(name);
        if let Some(key) = keys.keys().find(is_same) {
            return format!("did you mean '{key}'?");
        }
        if let Some(path) = path_to(self.whole, name) {
            return format!("did you mean '{path}'?");
        }
        match crate::spelling::nearest(name, keys.keys().map(String::as_str)) {
            Some(key) => format!("did you mean '{key}'?"),
            None => {
                // Those of the JSON first, which begin in lower case.
                let mut keys: Vec<&str> = keys.keys().map(String::as_str).collect();
                keys.sort_by_key(|key| key.starts_with(char::is_uppercase));
                let more = if keys.len() > SHOWN_KEYS { ", …" } else { "" };
                keys.truncate(SHOWN_KEYS);
                format!("there are {}{more}", keys.join(", "))
            }
        }
    }
}

/// Where there is a key of this name, whatever its case, that can be written as one chain.
fn path_to(shape: &Shape, name: &str) -> Option<String> {
    let Shape::Keys(keys) = shape else { return None };
    if let Some(key) = keys.keys().find(|key| key.eq_ignore_ascii_case(name)) {
        return Some(format!(".{key}"));
    }
    keys.iter().find_map(|(key, inner)| Some(format!(".{key}{}", path_to(inner, name)?)))
}
