//! What a template says of an object.

use std::sync::Arc;

use serde_json::Value as Json;

use super::tree::{Block, BlockKind, Command, Node, Operand, Pipeline};
use super::value::{Element, Value, present};

/// Why a template cannot be applied to an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EvaluateError {
    /// `len 3`
    #[error("'{function}' has no use for {kind}")]
    Argument {
        /// Function.
        function: &'static str,
        /// What it got.
        kind: &'static str,
    },
    /// `lt "a" 1`
    #[error("{one} cannot be compared with {other}")]
    Order {
        /// Kind of a value.
        one: &'static str,
        /// Kind of the other.
        other: &'static str,
    },
    /// `index .list 5`
    #[error("there is nothing at {index}: the length is {length}")]
    Range {
        /// Asked for.
        index: usize,
        /// Of the list or text.
        length: usize,
    },
    /// `printf "%d" "a"`
    #[error("printf cannot write {kind} with %{verb}")]
    Directive {
        /// Letter.
        verb: char,
        /// What it got.
        kind: &'static str,
    },
    /// `printf "%s"`
    #[error("printf has fewer values than its text asks for")]
    TooFewValues,
    /// `printf "" 1`
    #[error("printf has more values than its text asks for")]
    TooManyValues,
    /// `.id.x`
    #[error("{kind} has no key '{name}'")]
    Field {
        /// Asked for.
        name: String,
        /// What it was asked of.
        kind: &'static str,
    },
    /// `range 3`
    #[error("{{{{range}}}} has no use for {0}")]
    NotIterable(&'static str),
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

/// A template that is being applied.
#[derive(Debug)]
pub(super) struct Evaluation {
    text: String,
    /// The innermost last; that of `$` has no name.
    variables: Vec<(String, Value)>,
    root: Value,
}

impl Evaluation {
    pub(super) fn new(element: Element) -> Self {
        let root = Value::Element(Arc::new(element));
        Self { text: String::new(), variables: vec![(String::new(), root.clone())], root }
    }

    pub(super) fn run(mut self, nodes: &[Node]) -> Result<String, EvaluateError> {
        let dot = self.root.clone();
        self.nodes(nodes, &dot)?;
        Ok(self.text)
    }

    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, EvaluateError> {
        for node in nodes {
            match node {
                Node::Text(text) => self.text.push_str(text),
                Node::Output(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    if pipeline.variables.is_empty() {
                        self.text.push_str(&value.print());
                    } else {
                        self.bind(pipeline, [value]);
                    }
                }
                Node::Block(block) => {
                    let scope = self.variables.len();
                    let flow = self.block(block, dot)?;
                    self.variables.truncate(scope);
                    if flow != Flow::On {
                        return Ok(flow);
                    }
                }
                Node::Break => return Ok(Flow::Break),
                Node::Continue => return Ok(Flow::Continue),
            }
        }
        Ok(Flow::On)
    }

    fn block(&mut self, block: &Block, dot: &Value) -> Result<Flow, EvaluateError> {
        let value = self.pipeline(&block.condition, dot)?;
        if block.kind == BlockKind::Range {
            return self.range(block, &value, dot);
        }
        let is_true = value.is_true();
        let inner = if block.kind == BlockKind::With && is_true { value.clone() } else { dot.clone() };
        self.bind(&block.condition, [value]);
        self.nodes(if is_true { &block.body } else { &block.otherwise }, &inner)
    }

    fn range(&mut self, block: &Block, value: &Value, dot: &Value) -> Result<Flow, EvaluateError> {
        let pairs: Vec<(Value, Value)> = match value {
            Value::Data(Json::Array(items)) => items
                .iter()
                .enumerate()
                .map(|(index, item)| (index.into(), Value::Data(item.clone())))
                .collect(),
            Value::Data(Json::Object(members)) => members_of(members),
            Value::Element(element) => match &element.json {
                Json::Object(members) => members_of(members),
                _ => Vec::new(),
            },
            Value::Data(Json::Null) | Value::Absent => Vec::new(),
            other => return Err(EvaluateError::NotIterable(other.kind())),
        };
        if pairs.is_empty() {
            return self.nodes(&block.otherwise, dot);
        }
        let scope = self.variables.len();
        for (key, item) in pairs {
            match block.condition.variables.len() {
                2 => self.bind(&block.condition, [key, item.clone()]),
                _ => self.bind(&block.condition, [item.clone()]),
            }
            let flow = self.nodes(&block.body, &item)?;
            self.variables.truncate(scope);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn bind<const COUNT: usize>(&mut self, pipeline: &Pipeline, values: [Value; COUNT]) {
        for (name, value) in pipeline.variables.iter().zip(values) {
            match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
                Some((_, known)) if pipeline.is_assignment => *known = value,
                _ => self.variables.push((name.clone(), value)),
            }
        }
    }

    fn pipeline(&self, pipeline: &Pipeline, dot: &Value) -> Result<Value, EvaluateError> {
        let mut result: Option<Value> = None;
        for command in &pipeline.commands {
            result = Some(match command {
                Command::Value(operand) => self.operand(operand, dot)?,
                Command::Call(function, arguments) => match function.ends_at() {
                    Some(truth) => self.until(truth, arguments, result, dot)?,
                    None => {
                        let mut values = self.operands(arguments, dot)?;
                        values.extend(result);
                        function.call(&values)?
                    }
                },
                Command::Method(operand, arguments) => {
                    let mut values = vec![self.operand(operand, dot)?];
                    values.extend(self.operands(arguments, dot)?);
                    super::functions::index(&values)?
                }
            });
        }
        Ok(result.unwrap_or(Value::Absent))
    }

    /// The first value that is true or not, else the last; those behind it are not looked at, for `and .list
    /// (index .list 0)` asks for what may not be there.
    fn until(
        &self,
        truth: bool,
        arguments: &[Operand],
        fed: Option<Value>,
        dot: &Value,
    ) -> Result<Value, EvaluateError> {
        let mut last = Value::Absent;
        for argument in arguments {
            last = self.operand(argument, dot)?;
            if last.is_true() == truth {
                return Ok(last);
            }
        }
        Ok(fed.unwrap_or(last))
    }

    fn operands(&self, operands: &[Operand], dot: &Value) -> Result<Vec<Value>, EvaluateError> {
        operands.iter().map(|operand| self.operand(operand, dot)).collect()
    }

    fn operand(&self, operand: &Operand, dot: &Value) -> Result<Value, EvaluateError> {
        match operand {
            Operand::Dot => Ok(dot.clone()),
            Operand::Variable(name) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                Ok(known.map_or(Value::Absent, |(_, value)| value.clone()))
            }
            Operand::Literal(value) => Ok(value.clone()),
            Operand::Pipeline(pipeline) => self.pipeline(pipeline, dot),
            Operand::Fields(base, names) => {
                let base = self.operand(base, dot)?;
                names.iter().try_fold(base, |value, name| {
                    let field = value.field(name);
                    field.ok_or_else(|| EvaluateError::Field { name: name.clone(), kind: value.kind() })
                })
            }
        }
    }
}

fn members_of(members: &serde_json::Map<String, Json>) -> Vec<(Value, Value)> {
    present(members).map(|(key, value)| (key.clone().into(), Value::Data(value.clone()))).collect()
}
