//! What a template is, once read.

use super::value::Value;

/// A part of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// Printed as it is.
    Text(String),
    /// `{{pipeline}}`; one that declares prints nothing.
    Output(Pipeline),
    /// `{{if}}`, `{{with}}`, `{{range}}`
    Block(Block),
    /// `{{break}}`
    Break,
    /// `{{continue}}`
    Continue,
}

/// What stands or does not, or stands several times.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Block {
    pub(super) kind: BlockKind,
    pub(super) condition: Pipeline,
    pub(super) body: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

/// The word that a block begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockKind {
    If,
    With,
    Range,
}

/// `$x := command | command`
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pipeline {
    /// Variables that get the result: one, or two of `range`.
    pub(super) variables: Vec<String>,
    /// They exist.
    pub(super) is_assignment: bool,
    /// Each gets the result of the one before as its last argument. Never empty.
    pub(super) commands: Vec<Command>,
}

/// A value, or a call.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Command {
    /// A value.
    Value(Operand),
    /// A function and its arguments.
    Call(&'static super::functions::Function, Vec<Operand>),
    /// A key that takes arguments, as `.Label "x"` of Docker does.
    Method(Operand, Vec<Operand>),
}

/// Something that has a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    /// `.`
    Dot,
    /// `$x`
    Variable(String),
    /// `"x"`
    Literal(Value),
    /// `(pipeline)`
    Pipeline(Box<Pipeline>),
    /// `operand.a.b`
    Fields(Box<Operand>, Vec<String>),
}

/// All keys that are asked for, in the order of the text.
pub(super) fn fields(nodes: &[Node]) -> Vec<String> {
    let mut found = Vec::new();
    for node in nodes {
        match node {
            Node::Output(pipeline) => of_pipeline(pipeline, &mut found),
            Node::Block(block) => {
                of_pipeline(&block.condition, &mut found);
                found.extend(fields(&block.body));
                found.extend(fields(&block.otherwise));
            }
            Node::Text(_) | Node::Break | Node::Continue => {}
        }
    }
    found
}

fn of_pipeline(pipeline: &Pipeline, found: &mut Vec<String>) {
    for command in &pipeline.commands {
        match command {
            Command::Value(operand) => of_operand(operand, found),
            Command::Call(_, arguments) => arguments.iter().for_each(|argument| of_operand(argument, found)),
            Command::Method(operand, arguments) => {
                of_operand(operand, found);
                arguments.iter().for_each(|argument| of_operand(argument, found));
            }
        }
    }
}

fn of_operand(operand: &Operand, found: &mut Vec<String>) {
    match operand {
        Operand::Pipeline(pipeline) => of_pipeline(pipeline, found),
        Operand::Fields(operand, names) => {
            of_operand(operand, found);
            found.extend(names.iter().cloned());
        }
        Operand::Dot | Operand::Variable(_) | Operand::Literal(_) => {}
    }
}

/// The text with the last key of each action in place of its value, as a title.
pub(super) fn header(nodes: &[Node]) -> String {
    let mut text = String::new();
    for node in nodes {
        let mut keys = Vec::new();
        match node {
            Node::Text(literal) => text.push_str(literal),
            Node::Output(pipeline) if pipeline.variables.is_empty() => {
                first_chain(pipeline, &mut keys);
                text.extend(keys.last().map(|key| title(key)));
            }
            Node::Block(_) => {
                keys = fields(std::slice::from_ref(node));
                text.extend(keys.last().map(|key| title(key)));
            }
            Node::Output(_) | Node::Break | Node::Continue => {}
        }
    }
    text
}

/// The keys of the first operand that has some, and the text that a key with an argument is given.
fn first_chain(pipeline: &Pipeline, keys: &mut Vec<String>) {
    for command in &pipeline.commands {
        let operands: Vec<&Operand> = match command {
            Command::Value(operand) => vec![operand],
            Command::Call(_, arguments) => arguments.iter().collect(),
            Command::Method(operand, arguments) => arguments.iter().chain([operand]).collect(),
        };
        for operand in operands {
            if let (Command::Method(..), Operand::Literal(Value::Text(text))) = (command, operand) {
                keys.push(text.clone());
            }
            of_operand(operand, keys);
            if !keys.is_empty() {
                return;
            }
        }
    }
}

/// `startedDate` becomes `STARTED DATE`, `IPAddress` `IP ADDRESS`.
fn title(key: &str) -> String {
    let characters: Vec<char> = key.chars().collect();
    let mut title = String::new();
    for (index, character) in characters.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|index| characters.get(index));
        let begins_word = character.is_uppercase()
            && before.is_some_and(|before| {
                before.is_lowercase()
                    || (before.is_uppercase()
                        && characters.get(index + 1).is_some_and(|next| next.is_lowercase())
                        // The plural of an abbreviation: PIDs.
                        && characters.get(index + 2).is_some())
            });
        if begins_word {
            title.push(' ');
        }
        title.extend(character.to_uppercase());
    }
    title
}

#[cfg(test)]
mod tests {
    use super::title;

    #[test]
    fn titles_are_the_words_of_keys() {
        for (key, expected) in [
            ("id", "ID"),
            ("startedDate", "STARTED DATE"),
            ("ID", "ID"),
            ("IPAddress", "IP ADDRESS"),
            ("CreatedAt", "CREATED AT"),
            ("PIDs", "PIDS"),
            ("CPUPerc", "CPU PERC"),
            ("com.example.tier", "COM.EXAMPLE.TIER"),
        ] {
            assert_eq!(title(key), expected);
        }
    }
}
