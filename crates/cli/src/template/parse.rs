//! From words to what they mean.

use super::functions::{self, Function};
use super::lexer::{self, Piece, Token, TokenKind};
use super::tree::{Block, BlockKind, Command, Node, Operand, Pipeline};

/// Blocks and brackets in one another; nobody writes more, and each takes stack.
const MAXIMUM_DEPTH: usize = 64;

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseError {
    /// `{{` without `}}`
    #[error("the template ends within {{{{")]
    UnclosedAction,
    /// `/*` without `*/`
    #[error("the template ends within a comment")]
    UnclosedComment,
    /// A quote without another.
    #[error("a quote is not closed")]
    UnclosedQuote,
    /// `\q`
    #[error("there is no escape \\{0}")]
    InvalidEscape(char),
    /// `1x`
    #[error("'{0}' is no number")]
    InvalidNumber(String),
    /// `#`
    #[error("a template has no use for '{0}' within {{{{ }}}}")]
    UnexpectedCharacter(char),
    /// `.a )`
    #[error("unexpected '{0}'")]
    UnexpectedToken(String),
    /// `{{}}`, `.a |`, `(`
    #[error("a value is missing {0}")]
    MissingValue(&'static str),
    /// `(.a`
    #[error("a bracket is not closed")]
    UnclosedBracket,
    /// `{{if}}` without `{{end}}`
    #[error("{{{{{0}}}}} has no {{{{end}}}}")]
    UnclosedBlock(&'static str),
    /// `{{end}}`, `{{else}}` without a block.
    #[error("{{{{{0}}}}} belongs to nothing")]
    OutsideOfBlock(String),
    /// `define` and its like.
    #[error("{{{{{0}}}}} is not supported")]
    Unsupported(String),
    /// No such function.
    #[error("there is no function '{name}'{}", .nearest.map(|nearest| format!("; did you mean '{nearest}'?")).unwrap_or_default())]
    UnknownFunction {
        /// As written.
        name: String,
        /// The one that is spelled most alike.
        nearest: Option<&'static str>,
    },
    /// Too few or too many.
    #[error("'{name}' takes {expected}")]
    ArgumentCount {
        /// Function.
        name: &'static str,
        /// "2 arguments"
        expected: String,
    },
    /// `$x` before `$x :=`
    #[error("${0} is not defined")]
    UnknownVariable(String),
    /// Blocks or brackets.
    #[error("the template is nested too deeply")]
    TooDeep,
}

/// Reads a template.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, ParseError> {
    let pieces = lexer::pieces(text)?;
    let mut parser =
        Parser { pieces: pieces.into_iter(), variables: vec![String::new()], blocks: Vec::new() };
    let (nodes, _) = parser.nodes()?;
    Ok(nodes)
}

/// Why a list of nodes ends.
#[derive(Debug)]
enum Ending {
    Text,
    End,
    /// With the words behind it.
    Else(Vec<Token>),
}

struct Parser {
    pieces: std::vec::IntoIter<Piece>,
    /// Names in scope; that of `$` is empty.
    variables: Vec<String>,
    /// That are open.
    blocks: Vec<BlockKind>,
}

impl Parser {
    fn nodes(&mut self) -> Result<(Vec<Node>, Ending), ParseError> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let tokens = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action(tokens) => tokens,
            };
            let word = match tokens.first().map(|token| &token.kind) {
                Some(TokenKind::Word(word)) => word.clone(),
                _ => String::new(),
            };
            match word.as_str() {
                "if" => nodes.push(self.block(BlockKind::If, &tokens[1..])?),
                "with" => nodes.push(self.block(BlockKind::With, &tokens[1..])?),
                "range" => nodes.push(self.block(BlockKind::Range, &tokens[1..])?),
                "end" | "else" if self.blocks.is_empty() => return Err(ParseError::OutsideOfBlock(word)),
                "end" => return nothing_more(&tokens[1..]).map(|()| (nodes, Ending::End)),
                "else" => return Ok((nodes, Ending::Else(tokens[1..].to_vec()))),
                "break" | "continue" => {
                    if !self.blocks.contains(&BlockKind::Range) {
                        return Err(ParseError::OutsideOfBlock(word));
                    }
                    nothing_more(&tokens[1..])?;
                    nodes.push(if word == "break" { Node::Break } else { Node::Continue });
                }
                "define" | "template" | "block" => return Err(ParseError::Unsupported(word)),
                _ => nodes.push(Node::Output(self.pipeline(&tokens, false)?)),
            }
        }
        match self.blocks.last() {
            Some(kind) => Err(ParseError::UnclosedBlock(kind.word())),
            None => Ok((nodes, Ending::Text)),
        }
    }

    fn block(&mut self, kind: BlockKind, condition: &[Token]) -> Result<Node, ParseError> {
        if self.blocks.len() >= MAXIMUM_DEPTH {
            return Err(ParseError::TooDeep);
        }
        let scope = self.variables.len();
        let condition = self.pipeline(condition, kind == BlockKind::Range)?;
        let (body, ending) = self.inner(kind)?;
        let otherwise = match ending {
            Ending::Else(tokens) if tokens.is_empty() => match self.inner(BlockKind::If)? {
                (_, Ending::Else(_)) => return Err(ParseError::OutsideOfBlock("else".to_owned())),
                (otherwise, _) => otherwise,
            },
            // `else if` has the one `end` of the whole.
            Ending::Else(tokens) => {
                let kind = match &tokens[0].kind {
                    TokenKind::Word(word) if word == "if" => BlockKind::If,
                    TokenKind::Word(word) if word == "with" => BlockKind::With,
                    other => return Err(ParseError::UnexpectedToken(other.to_string())),
                };
                self.blocks.push(kind);
                let block = self.block(kind, &tokens[1..]);
                self.blocks.pop();
                vec![block?]
            }
            Ending::End | Ending::Text => Vec::new(),
        };
        self.variables.truncate(scope);
        Ok(Node::Block(Block { kind, condition, body, otherwise }))
    }

    fn inner(&mut self, kind: BlockKind) -> Result<(Vec<Node>, Ending), ParseError> {
        let scope = self.variables.len();
        self.blocks.push(kind);
        let nodes = self.nodes();
        self.blocks.pop();
        self.variables.truncate(scope);
        nodes
    }

    /// `is_range`: it may have two variables.
    fn pipeline(&mut self, tokens: &[Token], is_range: bool) -> Result<Pipeline, ParseError> {
        let kinds: Vec<&TokenKind> = tokens.iter().take(4).map(|token| &token.kind).collect();
        let (variables, is_assignment, length) = match kinds.as_slice() {
            [TokenKind::Variable(one), sign @ (TokenKind::Declare | TokenKind::Assign), ..] => {
                (vec![one.clone()], **sign == TokenKind::Assign, 2)
            }
            [
                TokenKind::Variable(one),
                TokenKind::Comma,
                TokenKind::Variable(two),
                sign @ (TokenKind::Declare | TokenKind::Assign),
            ] if is_range => (vec![one.clone(), two.clone()], **sign == TokenKind::Assign, 4),
            _ => (Vec::new(), false, 0),
        };
        if is_assignment && let Some(name) = variables.iter().find(|name| !self.variables.contains(name)) {
            return Err(ParseError::UnknownVariable(name.clone()));
        }
        let mut words = Words { tokens: &tokens[length..], variables: &self.variables, depth: 0 };
        let commands = words.commands()?;
        if let Some(token) = words.tokens.first() {
            return Err(ParseError::UnexpectedToken(token.kind.to_string()));
        }
        if !is_assignment {
            self.variables.extend(variables.iter().cloned());
        }
        Ok(Pipeline { variables, is_assignment, commands })
    }
}

fn nothing_more(tokens: &[Token]) -> Result<(), ParseError> {
    tokens.first().map_or(Ok(()), |token| Err(ParseError::UnexpectedToken(token.kind.to_string())))
}

/// The words of one pipeline.
struct Words<'a> {
    tokens: &'a [Token],
    variables: &'a [String],
    depth: usize,
}

impl Words<'_> {
    fn take(&mut self) -> Option<TokenKind> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first.kind.clone())
    }

    fn commands(&mut self) -> Result<Vec<Command>, ParseError> {
        let mut commands = Vec::new();
        loop {
            commands.push(self.command(!commands.is_empty())?);
            match self.tokens.first().map(|token| &token.kind) {
                Some(TokenKind::Pipe) => {
                    self.take();
                }
                _ => return Ok(commands),
            }
        }
    }

    /// `is_fed`: it gets what is before the pipe as a further argument.
    fn command(&mut self, is_fed: bool) -> Result<Command, ParseError> {
        if let Some(TokenKind::Word(name)) = self.tokens.first().map(|token| &token.kind) {
            let function = function(name)?;
            self.take();
            let arguments = self.operands()?;
            let count = arguments.len() + usize::from(is_fed);
            if !function.takes(count) {
                let (name, expected) = (function.name, function.expected());
                return Err(ParseError::ArgumentCount { name, expected });
            }
            return Ok(Command::Call(function, arguments));
        }
        let Some(operand) = self.operand()? else {
            return Err(match self.tokens.first() {
                Some(token) if token.kind != TokenKind::Pipe && token.kind != TokenKind::Close => {
                    ParseError::UnexpectedToken(token.kind.to_string())
                }
                _ if is_fed => ParseError::MissingValue("after '|'"),
                _ => ParseError::MissingValue("within {{ }}"),
            });
        };
        let arguments = self.operands()?;
        match &operand {
            _ if arguments.is_empty() && !is_fed => Ok(Command::Value(operand)),
            Operand::Fields(..) if !is_fed => Ok(Command::Method(operand, arguments)),
            // Go says the same: only functions take arguments.
            _ if is_fed => Err(ParseError::MissingValue("that is a function after '|'")),
            _ => Err(ParseError::MissingValue("that is a function before its arguments")),
        }
    }

    fn operands(&mut self) -> Result<Vec<Operand>, ParseError> {
        let mut operands = Vec::new();
        while let Some(operand) = self.operand()? {
            operands.push(operand);
        }
        Ok(operands)
    }

    fn operand(&mut self) -> Result<Option<Operand>, ParseError> {
        let Some(token) = self.tokens.first() else { return Ok(None) };
        let mut names = Vec::new();
        let base = match &token.kind {
            TokenKind::Dot => Operand::Dot,
            TokenKind::Field(name) => {
                names.push(name.clone());
                Operand::Dot
            }
            TokenKind::Variable(name) if self.variables.contains(name) => Operand::Variable(name.clone()),
            TokenKind::Variable(name) => return Err(ParseError::UnknownVariable(name.clone())),
            TokenKind::Literal(value) => Operand::Literal(value.clone()),
            TokenKind::Open => return self.bracket().map(Some),
            TokenKind::Word(name) => {
                // A function without arguments has no use here: all take some.
                function(name)?;
                return Err(ParseError::UnexpectedToken(name.clone()));
            }
            _ => return Ok(None),
        };
        self.take();
        Ok(Some(self.with_fields(base, names)))
    }

    fn bracket(&mut self) -> Result<Operand, ParseError> {
        self.take();
        self.depth += 1;
        if self.depth > MAXIMUM_DEPTH {
            return Err(ParseError::TooDeep);
        }
        let commands = self.commands()?;
        self.depth -= 1;
        match self.take() {
            Some(TokenKind::Close) => {
                let pipeline = Pipeline { variables: Vec::new(), is_assignment: false, commands };
                Ok(self.with_fields(Operand::Pipeline(Box::new(pipeline)), Vec::new()))
            }
            Some(other) => Err(ParseError::UnexpectedToken(other.to_string())),
            None => Err(ParseError::UnclosedBracket),
        }
    }

    /// Takes the keys that follow without a space.
    fn with_fields(&mut self, base: Operand, mut names: Vec<String>) -> Operand {
        while let Some(Token { kind: TokenKind::Field(name), is_joined: true }) = self.tokens.first() {
            names.push(name.clone());
            self.take();
        }
        if names.is_empty() { base } else { Operand::Fields(Box::new(base), names) }
    }
}

fn function(name: &str) -> Result<&'static Function, ParseError> {
    functions::find(name).ok_or_else(|| ParseError::UnknownFunction {
        name: name.to_owned(),
        nearest: crate::spelling::nearest(name, functions::names()),
    })
}

impl BlockKind {
    fn word(self) -> &'static str {
        match self {
            Self::If => "if",
            Self::With => "with",
            Self::Range => "range",
        }
    }
}

impl std::fmt::Display for TokenKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dot => formatter.write_str("."),
            Self::Field(name) => write!(formatter, ".{name}"),
            Self::Variable(name) => write!(formatter, "${name}"),
            Self::Word(word) => formatter.write_str(word),
            Self::Literal(value) => formatter.write_str(&value.print()),
            Self::Pipe => formatter.write_str("|"),
            Self::Open => formatter.write_str("("),
            Self::Close => formatter.write_str(")"),
            Self::Comma => formatter.write_str(","),
            Self::Declare => formatter.write_str(":="),
            Self::Assign => formatter.write_str("="),
        }
    }
}
